package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the release build with -ldflags "-X main.version=v1.2.3".
var version = "dev"

// versionCmd is "worker version".
type versionCmd struct{}

// Run prints the version, the commit where it is known, and Go's.
func (*versionCmd) Run(e *env) error {
	_, err := fmt.Fprintf(e.stdout, "worker %s%s %s %s/%s\n", version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return " (" + s.Value + ")"
		}
	}
	return ""
}
