package cli

import (
	"fmt"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
)

// provisionCmd is "worker provision".
type provisionCmd struct {
	DryRun bool `help:"Only say what is missing or differs."`
	JSON   bool `name:"json" help:"One JSON object a line."`
}

// Run creates what is missing and lists every stream, bucket and consumer.
// It fails where something is missing afterwards, or differs from the settings.
func (p *provisionCmd) Run(e *command.Env) error {
	cfg, l, err := e.Connect()
	if err != nil {
		return err
	}
	defer l.NC.Close()
	if err := broker.CheckServer(l.NC); err != nil {
		return err
	}
	report, err := broker.Provision(e.Stop, l.JS, app.Topology(cfg), !p.DryRun)
	good := true
	for _, item := range report.Items {
		good = good && (item.State == broker.StateCreated || item.State == broker.StateEqual)
		if err := p.list(e, item); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if !good {
		show.Say(e.Stderr, "what differs was left as it is: change it with the nats tool, or the settings")
		return command.ErrSaid
	}
	return nil
}

func (p *provisionCmd) list(e *command.Env, item broker.Item) error {
	if p.JSON {
		return show.JSONLines(e.Stdout).Encode(item)
	}
	if _, err := fmt.Fprintf(e.Stdout, "%-9s %-20s %s\n", item.Kind, item.Name, item.State); err != nil {
		return err
	}
	for _, d := range item.Differences {
		if _, err := fmt.Fprintf(e.Stdout, "          %s\n", d); err != nil {
			return err
		}
	}
	return nil
}
