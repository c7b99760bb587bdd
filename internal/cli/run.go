package cli

import (
	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

type runCmd struct{}

func (*runCmd) Run(e *command.Env) error {
	cfg, err := e.Settings(true)
	if err != nil {
		return err
	}
	return app.New(cfg, telemetry.Bounded(e.Logger(cfg))).Run(e.Stop, e.Force)
}
