package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
)

// repair creates what somebody has deleted under the running worker, as far as the
// settings allow it. The start provisions by itself: until it is over this does nothing.
func (a *App) repair(ctx context.Context) error {
	if a.parts.Load().starting != "" {
		return nil
	}
	return a.provision(ctx)
}

// provision creates what is missing and tells what differs, and what was lost.
func (a *App) provision(ctx context.Context) error {
	a.provisioning.Lock()
	defer a.provisioning.Unlock()
	items, err := broker.Provision(ctx, a.link.JS, a.cfg, ratelimit.BucketTTL(a.cfg.Limits.Phone), a.cfg.NATS.Provision)
	missing := false
	for _, item := range items {
		a.tell(item)
		missing = missing || item.State == broker.StateMissing
	}
	if err == nil && missing {
		return errors.New(`nats.provision is off; create it with "worker provision"`)
	}
	return err
}

// tell logs how an item was found, where that is news.
func (a *App) tell(item broker.Item) {
	log := a.log.With("kind", item.Kind, "name", item.Name)
	thing := fmt.Sprint(item.Kind, " ", item.Name)
	before := broker.State(a.told.Last(thing))
	changed := a.told.Changed(thing, string(item.State))
	switch {
	case item.State == broker.StateCreated && (before == "" || before == broker.StateMissing):
		log.Info("created")
	case item.State == broker.StateCreated: // also twice in a row
		log.Error("somebody deleted it, and what was in it is lost; recreated")
	case !changed:
	case item.State == broker.StateDiffers:
		log.Warn("not as the settings want it; left as it is", "differences", fmt.Sprint(item.Differences))
	case item.State == broker.StateMissing:
		log.Error(`missing, and nats.provision is off; create it with "worker provision"`)
	case before == broker.StateMissing:
		log.Info("there again")
	}
}
