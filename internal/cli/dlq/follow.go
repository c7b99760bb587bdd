package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// askEvery is how often the records are asked about requests that nothing was
// heard of: an announcement that came while the connection was down is not heard.
const askEvery = 5 * time.Second

// follower waits for the final results of replayed requests.
type follower struct {
	*replayReport
	records deadletter.Records
	heard   chan *nats.Msg

	awaited map[string]int             // request id to the replay that it must have come from
	finals  map[string]passcode.Result // the latest that was heard of each request
	became  map[string]int
	unsent  int
}

// follow begins to listen, so that nothing is missed that is replayed afterwards.
func follow(s *session, records deadletter.Records, report *replayReport) (*follower, error) {
	f := &follower{
		replayReport: report, records: records, heard: make(chan *nats.Msg, 64<<10),
		awaited: map[string]int{}, finals: map[string]passcode.Result{}, became: map[string]int{},
	}
	ctx, cancel := command.Bounded(s.Stop)
	defer cancel()
	return f, s.Subscribe(ctx, s.Cfg.Results.Subject+".>", f.heard)
}

// expect waits for one request more, and takes in what was heard so far.
func (f *follower) expect(id string, replay int) {
	f.awaited[id] = replay
	f.take(f.finals[id]) // it may be faster than the word that it was replayed
	for len(f.heard) > 0 {
		f.hear(<-f.heard)
	}
}

func (f *follower) hear(msg *nats.Msg) {
	var r passcode.Result
	if err := json.Unmarshal(msg.Data, &r); err == nil && r.Final && r.Replays > 0 {
		f.finals[r.RequestID] = r
		f.take(r)
	}
}

// take notes a result where it is the one awaited.
func (f *follower) take(r passcode.Result) {
	replay, ok := f.awaited[r.RequestID]
	if !ok || !r.Final || r.Replays < replay {
		return
	}
	delete(f.awaited, r.RequestID)
	delete(f.finals, r.RequestID)
	word := string(r.Status)
	if r.Error != nil {
		word += " (" + r.Error.Code + ")"
	}
	f.became[word]++
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
		f.Note("waiting for the results of %s, at most %s", show.CountOf(len(f.awaited), "request"), domain.FormatDuration(patience))
	}
	ctx, cancel := context.WithTimeout(f.Stop, patience)
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
	for _, word := range slices.Sorted(maps.Keys(f.became)) {
		f.say("became %s: %d", word, f.became[word])
	}
	if n := len(f.awaited); n > 0 {
		f.say("not final yet: %d; \"worker request ID\" shows how one stands", n)
	}
	if f.unsent+len(f.awaited) > 0 {
		return command.ErrSaid
	}
	return nil
}

// ask reads the records of those that nothing was heard of.
func (f *follower) ask(ctx context.Context) {
	for id := range f.awaited {
		r, _, err := f.records.Get(ctx, id)
		switch {
		case err == nil:
			f.take(r)
		case !errors.Is(err, domain.ErrNotFound):
			return // the broker is away; there is a next time
		}
	}
}
