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
	tuneCollector(limitFiles)
	log := telemetry.NewLogger(e.Stderr, cfg.Log.Level, cfg.Log.Format)
	for _, w := range cfg.Warnings {
		log.Warn("settings: " + w)
	}
	return app.New(cfg, telemetry.Bounded(log)).Run(e.Stop, e.Force)
}
