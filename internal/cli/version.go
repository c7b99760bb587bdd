package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
)

type versionCmd struct{}

func (*versionCmd) Run(e *command.Env) error {
	e.Print("worker %s%s %s %s/%s", e.Version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
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
