package main

import "github.com/passcode-worker/passcode-worker/internal/config"

// configCmd is "worker config".
type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print the settings in force, secrets masked."`
}

// configPrintCmd is "worker config print".
type configPrintCmd struct{}

// Run prints the settings where they are right, and every problem where not.
func (*configPrintCmd) Run(e *env, c *cli) error {
	cfg, err := config.Load(config.Source{File: c.Config, Env: e.environ, Set: c.Set, Review: true})
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		say(e.stderr, "warning: %s", w)
	}
	return config.Print(e.stdout, cfg)
}
