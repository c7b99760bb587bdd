package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

// workerTerm begins the reason with which a worker terminates a job that it has dead-lettered. It ends without a
// space, because the server trims reasons.
const workerTerm = "passcode-worker:"

// deletedReasons are the server's own words for a job that is gone from the stream while it waits for its ack.
// Usually the job was acked: after a change of leaders a consumer may know less than its stream. A job deleted by
// hand looks the same, and shows only in its record, which never becomes final.
var deletedReasons = []string{"Unacknowledged message was deleted", "Message deleted by stream limits"}

const (
	// defaultSweep is how often the stream is searched for undeliverable jobs.
	defaultSweep = time.Minute
	// defaultAgain is how soon a job is looked at again that could not be ended, and when one found by a search is
	// looked at first: it may be acked a moment later.
	defaultAgain = 5 * time.Second
	// advisoryBuffer is how many advisories wait while jobs are being ended. The search finds what is lost.
	advisoryBuffer = 4096
	// maxReasonBytes bounds the reason that another program gives.
	maxReasonBytes = 256
)

// UndeliverableHandler ends the jobs that the server no longer delivers.
type UndeliverableHandler interface {
	// Undeliverable ends a job that is still in the stream: it acks or terms it, which takes it out, or naks it, to
	// be asked again. It decides whether a suspect is undeliverable at all.
	Undeliverable(ctx context.Context, d domain.Delivery, why domain.Undeliverable)
	// Lost tells of a job that is gone, body and all.
	Lost(ctx context.Context, gone domain.Delivery, why domain.Undeliverable) error
}

// WatchOptions are what a Watch needs.
type WatchOptions struct {
	Stream, Consumer, Subject string
	Scrub                     func(string) string // masks secrets in the reason that another program gives
	Logger                    *slog.Logger
	Sweep, Again              time.Duration // how often to search and to try again; 0: the default
}

// Watch finds undeliverable jobs. There should be none, since our consumer has no limit of deliveries and only workers
// terminate jobs. But consumers are edited, and other programs can reach the stream.
//
// The server tells of them in advisories, each heard by one worker. Those sent while no worker listens are lost, but
// a job that ran out of deliveries stays in the stream, and a search finds it.
type Watch struct {
	js      jetstream.JetStream
	o       WatchOptions
	handler UndeliverableHandler
	open    map[uint64]openCase // the jobs to be looked at, by stream sequence
	flowed  bool                // jobs were delivered at the time of the last search
}

type openCase struct {
	why domain.Undeliverable
	due time.Time
}

// NewWatch returns a watch. It does nothing before Run.
func NewWatch(js jetstream.JetStream, u UndeliverableHandler, o WatchOptions) *Watch {
	o.Sweep, o.Again = cmp.Or(o.Sweep, defaultSweep), cmp.Or(o.Again, defaultAgain)
	return &Watch{js: js, o: o, handler: u, open: map[uint64]openCase{}}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	advisories := make(chan *nats.Msg, advisoryBuffer)
	for _, kind := range []string{"MAX_DELIVERIES", "MSG_TERMINATED"} {
		subject := "$JS.EVENT.ADVISORY.CONSUMER." + kind + "." + w.o.Stream + "." + w.o.Consumer
		subscription, err := w.js.Conn().ChanQueueSubscribe(subject, w.o.Consumer+"-watch", advisories)
		if err != nil {
			w.o.Logger.Warn("advisories can't be heard", "subject", subject, "error", err)
			continue // the search goes on
		}
		defer func() { _ = subscription.Unsubscribe() }() //nolint:revive // two of them; an error means that the connection is closed
	}
	look := time.NewTicker(w.o.Again / 5)
	defer look.Stop()
	var searched time.Time
	for {
		if w.js.Conn().IsConnected() {
			if time.Since(searched) >= w.o.Sweep {
				if err := w.search(ctx); err != nil && ctx.Err() == nil {
					w.o.Logger.Warn("the stream can't be searched for undeliverable jobs", "error", err)
				}
				searched = time.Now()
			}
			w.lookAtAll(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case msg := <-advisories:
			w.heard(msg)
		case <-look.C:
		}
	}
}

// heard takes note of what an advisory tells.
func (w *Watch) heard(msg *nats.Msg) {
	var advisory struct {
		Type       string `json:"type"`
		StreamSeq  uint64 `json:"stream_seq"`
		Deliveries uint64 `json:"deliveries"`
		Reason     string `json:"reason"`
	}
	if err := json.Unmarshal(msg.Data, &advisory); err != nil || advisory.StreamSeq == 0 {
		w.o.Logger.Warn("an advisory can't be read", "subject", msg.Subject)
		return
	}
	why := domain.Undeliverable{Deliveries: advisory.Deliveries}
	if strings.HasSuffix(advisory.Type, ".terminated") {
		switch {
		case strings.HasPrefix(advisory.Reason, workerTerm):
			return
		case slices.Contains(deletedReasons, advisory.Reason):
			w.o.Logger.Info("the server found a job gone that it waited for; after a change of leaders most such jobs are settled",
				"stream_seq", advisory.StreamSeq)
			return
		}
		why.Terminated, why.Reason = true, text.Cut(w.o.Scrub(text.Line(advisory.Reason, math.MaxInt)), maxReasonBytes)
	}
	w.open[advisory.StreamSeq] = openCase{why: why, due: time.Now()}
}

// lookAtAll looks at every job whose time has come, oldest first.
func (w *Watch) lookAtAll(ctx context.Context) {
	var due []uint64
	for seq, c := range w.open {
		if !c.due.After(time.Now()) {
			due = append(due, seq)
		}
	}
	slices.Sort(due)
	for _, seq := range due {
		again, err := w.look(ctx, seq, w.open[seq].why)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.o.Logger.Warn("an undeliverable job can't be ended; trying again", "stream_seq", seq, "error", err)
			again = w.o.Again
		case again == 0:
			delete(w.open, seq)
			continue
		}
		w.open[seq] = openCase{why: w.open[seq].why, due: time.Now().Add(again)}
	}
}

// look has one job ended. It returns when to look again; 0: never.
func (w *Watch) look(ctx context.Context, seq uint64, why domain.Undeliverable) (again time.Duration, err error) {
	msg, err := w.read(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound) && why.Terminated:
		gone := &jetstream.RawStreamMsg{Subject: w.o.Subject, Sequence: seq}
		return 0, w.handler.Lost(ctx, &storedJob{w: w, ctx: ctx, msg: gone}, why)
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil // it was acked after all
	case err != nil:
		return 0, err
	}
	d := &storedJob{w: w, ctx: ctx, msg: msg, again: w.o.Again}
	w.handler.Undeliverable(ctx, d, why)
	if why.Suspected {
		return 0, nil // the next search brings it again
	}
	return d.again, nil
}
