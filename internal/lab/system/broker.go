package system

import (
	"log/slog"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
)

// BrokerCommand is what the program calls [Broker]; no help lists it.
const BrokerCommand = "lab-broker"

// Broker is the command that serves a system's broker, in a process of its own, so that what it uses can be told.
type Broker struct {
	Dir string `arg:"" help:"Where it keeps its data."`
}

// Run serves until it is stopped.
func (b *Broker) Run(e *command.Env) error {
	server, err := broker.StartEmbedded("127.0.0.1:0", b.Dir, slog.New(slog.NewTextHandler(e.Stderr, nil)))
	if err != nil {
		return err
	}
	show.Say(e.Stderr, "listening on %s", server.URL())
	<-e.Stop.Done()
	return server.Stop(e.Force)
}
