package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
)

type versionCmd struct{}

func (*versionCmd) Run(e *command.Env) error {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = " (" + s.Value + ")"
			}
		}
	}
	e.Print("worker %s%s %s %s/%s", e.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
