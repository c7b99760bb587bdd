package main

import "github.com/passcode-worker/passcode-worker/internal/telemetry"

// runCmd is "worker run".
type runCmd struct{}

// Run runs the worker until it is stopped.
func (*runCmd) Run(e *env, c *cli) error {
	cfg, err := c.settings(e, true)
	if err != nil {
		return err
	}
	log, err := logger(e, cfg)
	if err != nil {
		return err
	}
	return runWorker(e.stop, e.force, cfg, telemetry.Bounded(log))
}
