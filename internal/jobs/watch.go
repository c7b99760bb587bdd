package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
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

// Watch finds undeliverable jobs. There should be none, since our consumer has no limit of deliveries and only workers
// terminate jobs. But consumers are edited, and other programs can reach the stream.
//
// The server tells of them in advisories, each heard by one worker. Those sent while no worker listens are lost, but
// a job that ran out of deliveries stays in the stream, and a search finds it.
type Watch struct {
	JS                        jetstream.JetStream
	Stream, Consumer, Subject string
	Handler                   UndeliverableHandler
	Scrub                     func(string) string // masks secrets in the reason that another program gives
	Logger                    *slog.Logger
	Sweep                     time.Duration // how often the stream is searched
	// Again is how soon a job is looked at again that could not be ended, and when one found by a search is looked at
	// first: it may be acked a moment later.
	Again time.Duration

	open   map[uint64]openCase // the jobs to be looked at, by stream sequence
	flowed bool                // jobs were delivered at the time of the last search
}

type openCase struct {
	why domain.Undeliverable
	due time.Time
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	w.open = map[uint64]openCase{}
	advisories := make(chan *nats.Msg, advisoryBuffer)
	for _, kind := range []string{"MAX_DELIVERIES", "MSG_TERMINATED"} {
		subject := "$JS.EVENT.ADVISORY.CONSUMER." + kind + "." + w.Stream + "." + w.Consumer
		subscription, err := w.JS.Conn().ChanQueueSubscribe(subject, w.Consumer+"-watch", advisories)
		if err != nil {
			w.Logger.Warn("advisories can't be heard", "subject", subject, "error", err)
			continue // the search goes on
		}
		defer func() { _ = subscription.Unsubscribe() }() //nolint:revive // two of them; an error means that the connection is closed
	}
	look := time.NewTicker(w.Again / 5)
	defer look.Stop()
	var searched time.Time
	for {
		if w.JS.Conn().IsConnected() {
			if time.Since(searched) >= w.Sweep {
				if err := w.search(ctx); err != nil && ctx.Err() == nil {
					w.Logger.Warn("the stream can't be searched for undeliverable jobs", "error", err)
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
		w.Logger.Warn("an advisory can't be read", "subject", msg.Subject)
		return
	}
	why := domain.Undeliverable{Deliveries: advisory.Deliveries}
	if strings.HasSuffix(advisory.Type, ".terminated") {
		switch {
		case strings.HasPrefix(advisory.Reason, workerTerm):
			return
		case slices.Contains(deletedReasons, advisory.Reason):
			w.Logger.Info("the server found a job gone that it waited for; after a change of leaders most such jobs are settled",
				"stream_seq", advisory.StreamSeq)
			return
		}
		why.Terminated, why.Reason = true, text.Cut(w.Scrub(text.Line(advisory.Reason, math.MaxInt)), maxReasonBytes)
	}
	w.open[advisory.StreamSeq] = openCase{why: why, due: time.Now()}
}

// lookAtAll looks at every job whose time has come, oldest first.
func (w *Watch) lookAtAll(ctx context.Context) {
	for _, seq := range slices.Sorted(maps.Keys(w.open)) {
		c := w.open[seq]
		if c.due.After(time.Now()) {
			continue
		}
		again, err := w.look(ctx, seq, c.why)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.Logger.Warn("an undeliverable job can't be ended; trying again", "stream_seq", seq, "error", err)
			again = w.Again
		case again == 0:
			delete(w.open, seq)
			continue
		}
		w.open[seq] = openCase{why: c.why, due: time.Now().Add(again)}
	}
}

// look has one job ended. It returns when to look again; 0: never.
func (w *Watch) look(ctx context.Context, seq uint64, why domain.Undeliverable) (again time.Duration, err error) {
	msg, err := readJob(ctx, w.JS, w.Stream, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound) && why.Terminated:
		gone := &jetstream.RawStreamMsg{Subject: w.Subject, Sequence: seq}
		return 0, w.Handler.Lost(ctx, &storedJob{w: w, ctx: ctx, msg: gone}, why)
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil // it was acked after all
	case err != nil:
		return 0, err
	}
	d := &storedJob{w: w, ctx: ctx, msg: msg, again: w.Again}
	w.Handler.Undeliverable(ctx, d, why)
	if why.Suspected {
		return 0, nil // the next search brings it again
	}
	return d.again, nil
}
