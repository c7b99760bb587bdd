package cli

import (
	"errors"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
)

type provisionCmd struct {
	DryRun bool `help:"Only say what is missing or differs."`
	JSON   bool `name:"json" help:"One JSON object a line."`
}

// Run fails where something is missing afterwards, or differs from the settings.
func (p *provisionCmd) Run(e *command.Env) error {
	if err := e.Connect(); err != nil {
		return err
	}
	if err := broker.CheckServer(e.JS.Conn()); err != nil {
		return err
	}
	items, err := broker.Provision(e.Stop, e.JS, e.Cfg, ratelimit.BucketTTL(e.Cfg.Limits.Phone), !p.DryRun)
	good, list := true, show.NewListing(e.Stdout, p.JSON)
	for _, item := range items {
		good = good && (item.State == broker.StateCreated || item.State == broker.StateEqual)
		list.Add(item, item.Kind, item.Name, item.State)
		for _, d := range item.Differences {
			list.Row("", d)
		}
	}
	if err := errors.Join(list.Flush(), err); err != nil {
		return err
	}
	if !good {
		e.Note("what differs was left as it is: change it with the nats tool, or the settings")
		return command.ErrSaid
	}
	return nil
}
