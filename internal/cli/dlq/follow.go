package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// askEvery is how often the records are asked about requests that nothing was
// heard of: an announcement that came while the connection was down is not heard.
const askEvery = 5 * time.Second

// follower waits for the final results of replayed requests.
type follower struct {
	e            *command.Env
	records      *ledger.Ledger
	subscription *nats.Subscription
	heard        chan *nats.Msg

	awaited map[string]int // request id to the replay that it must have come from
	early   map[string]passcode.Result
	counts  map[string]int
	unsent  int
	lines   *json.Encoder // nil without --json
}

// follow begins to listen, so that nothing is missed that is replayed afterwards.
func follow(e *command.Env, d *session, records *ledger.Ledger, asJSON bool) (*follower, error) {
	f := &follower{
		e: e, records: records, heard: make(chan *nats.Msg, 64<<10),
		awaited: map[string]int{}, early: map[string]passcode.Result{}, counts: map[string]int{},
	}
	if asJSON {
		f.lines = show.JSONLines(e.Stdout)
	}
	subject := d.cfg.Results.Subject + ".>"
	var err error
	if f.subscription, err = d.link.NC.ChanSubscribe(subject, f.heard); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	ctx, cancel := context.WithTimeoutCause(e.Stop, command.Patience, fmt.Errorf("no answer from the broker within %s", command.Patience))
	defer cancel()
	if err := d.link.NC.FlushWithContext(ctx); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return f, nil
}

func (f *follower) close() { _ = f.subscription.Unsubscribe() } // the connection closes right after

// expect waits for one request more, and takes in what was heard so far, so that
// the channel doesn't fill up.
func (f *follower) expect(id string, replay int) {
	f.awaited[id] = replay
	if r, ok := f.early[id]; ok {
		delete(f.early, id)
		f.take(r)
	}
	for {
		select {
		case msg := <-f.heard:
			f.hear(msg)
		default:
			return
		}
	}
}

func (f *follower) hear(msg *nats.Msg) {
	var r passcode.Result
	if err := json.Unmarshal(msg.Data, &r); err != nil || !r.Final || r.Replays == 0 {
		return
	}
	if _, ok := f.awaited[r.RequestID]; !ok {
		f.early[r.RequestID] = r // the result may be faster than the word that it was replayed
		return
	}
	f.take(r)
}

// take notes a result where it is the one awaited.
func (f *follower) take(r passcode.Result) {
	replay, ok := f.awaited[r.RequestID]
	if !ok || !r.Final || r.Replays < replay {
		return
	}
	delete(f.awaited, r.RequestID)
	word := string(r.Status)
	if r.Error != nil {
		word += " (" + r.Error.Code + ")"
	}
	f.counts[word]++
	if r.Status != passcode.StatusSent && r.Status != passcode.StatusDelivered {
		f.unsent++
	}
	if f.lines != nil {
		_ = f.lines.Encode(r) // a pipe that is gone ends the process
	}
}

// wait waits until all are final, and sums up. It fails where one was not sent.
func (f *follower) wait(patience time.Duration) error {
	if len(f.awaited) > 0 {
		show.Say(f.e.Stderr, "waiting for the results of %s, at most %s", show.CountOf(len(f.awaited), "request"), domain.FormatDuration(patience))
	}
	ctx, cancel := context.WithTimeout(f.e.Stop, patience)
	defer cancel()
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for len(f.awaited) > 0 && ctx.Err() == nil {
		select {
		case msg := <-f.heard:
			f.hear(msg)
		case <-ask.C:
			f.ask(ctx)
		case <-ctx.Done():
		}
	}
	out := f.e.Stdout
	if f.lines != nil {
		out = f.e.Stderr
	}
	for _, word := range slices.Sorted(maps.Keys(f.counts)) {
		show.Say(out, "became %s: %d", word, f.counts[word])
	}
	if n := len(f.awaited); n > 0 {
		show.Say(out, "not final yet: %d; \"worker request ID\" shows how one stands", n)
		return command.ErrSaid
	}
	if f.unsent > 0 {
		return command.ErrSaid
	}
	return nil
}

// ask reads the records of those that nothing was heard of.
func (f *follower) ask(ctx context.Context) {
	for _, id := range slices.Collect(maps.Keys(f.awaited)) {
		r, _, err := f.records.Get(ctx, id)
		switch {
		case err == nil:
			f.take(r)
		case !errors.Is(err, domain.ErrNotFound):
			return // the broker is away; there is a next time
		}
	}
}
