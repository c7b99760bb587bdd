package main

import (
	"fmt"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// provisionCmd is "worker provision".
type provisionCmd struct {
	DryRun bool `help:"Only say what is missing or differs."`
	JSON   bool `name:"json" help:"One JSON object a line."`
}

// Run creates what is missing and lists every stream, bucket and consumer.
// It fails where something is missing afterwards, or differs from the settings.
func (p *provisionCmd) Run(e *env, c *cli) error {
	cfg, l, err := c.connected(e)
	if err != nil {
		return err
	}
	defer l.nc.Close()
	if err := broker.CheckServer(l.nc); err != nil {
		return err
	}
	report, err := broker.Provision(e.stop, l.js, topology(cfg), !p.DryRun)
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
		say(e.stderr, "what differs was left as it is: change it with the nats tool, or the settings")
		return errSaid
	}
	return nil
}

func (p *provisionCmd) list(e *env, item broker.Item) error {
	if p.JSON {
		return jsonLines(e.stdout).Encode(item)
	}
	if _, err := fmt.Fprintf(e.stdout, "%-9s %-20s %s\n", item.Kind, item.Name, item.State); err != nil {
		return err
	}
	for _, d := range item.Differences {
		if _, err := fmt.Fprintf(e.stdout, "          %s\n", d); err != nil {
			return err
		}
	}
	return nil
}
