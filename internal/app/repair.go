package app

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// errMissing says what mends it, too.
var errMissing = errors.New(`nats.provision is off; create it with "worker provision"`)

// repairs is what the worker has told of the things it needs in the broker, so
// that it tells each change once however often it looks.
type repairs struct {
	mu   sync.Mutex
	told map[string]broker.State
}

// standing says what in the broker fails while jobs are handled.
func (a *app) standing() []error {
	var all []error
	if p := a.running.Load(); p != nil {
		all = p.consumer.Standing()
		if why := p.source.Trouble(); why != "" {
			all = append(all, errors.New(why))
		}
	}
	if a.link.NC.IsConnected() {
		if err := broker.CheckServer(a.link.NC); err != nil {
			all = append(all, err)
		}
	}
	return all
}

// repair makes what somebody has deleted under the running worker, as far as the
// settings allow it. The start has its own way: until it is over this does nothing.
func (a *app) repair(ctx context.Context) error {
	if a.starting.Load() != nil {
		return nil
	}
	return a.provision(ctx)
}

// provision creates what is missing and tells what differs, and what was lost.
func (a *app) provision(ctx context.Context) error {
	a.repairs.mu.Lock()
	defer a.repairs.mu.Unlock()
	report, err := broker.Provision(ctx, a.link.JS, Topology(a.cfg), a.cfg.NATS.Provision)
	for _, item := range report.Items {
		a.tell(item)
	}
	if err == nil && !report.Usable() {
		return errMissing
	}
	return err
}

// tell logs how an item was found, where that is news.
func (a *app) tell(item broker.Item) {
	if a.repairs.told == nil {
		a.repairs.told = map[string]broker.State{}
	}
	name := fmt.Sprint(item.Kind, " ", item.Name)
	before, known := a.repairs.told[name]
	a.repairs.told[name] = item.State
	switch item.State {
	case broker.StateCreated:
		if known && before != broker.StateMissing {
			a.log.Error("somebody deleted it, and what was in it is lost; made again", "kind", item.Kind, "name", item.Name)
			return
		}
		a.log.Info("created", "kind", item.Kind, "name", item.Name)
	case broker.StateDiffers:
		if before != item.State {
			a.log.Warn("not as the settings want it; left as it is", "kind", item.Kind, "name", item.Name, "differences", fmt.Sprint(item.Differences))
		}
	case broker.StateMissing:
		if before != item.State {
			a.log.Error("missing, and nats.provision is off; create it with \"worker provision\"", "kind", item.Kind, "name", item.Name)
		}
	case broker.StateEqual:
		if before == broker.StateMissing {
			a.log.Info("there again", "kind", item.Kind, "name", item.Name)
		}
	}
}
