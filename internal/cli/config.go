package cli

import (
	"errors"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print the settings in force, secrets masked."`
}

type configPrintCmd struct{}

// Run prints right settings, also if they lack what "worker run" needs.
func (*configPrintCmd) Run(e *command.Env) error {
	cfg, err := e.Settings(false)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		e.Note("warning: %s", w)
	}
	_, errToRun := e.Settings(true)
	return errors.Join(config.Print(e.Stdout, cfg), errToRun)
}
