package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// results collects what is announced.
type results struct {
	t       *testing.T
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something comes
	byID    map[string][]passcode.Result
}

func watch(t *testing.T, nc *nats.Conn) *results {
	t.Helper()
	r := &results{t: t, changed: make(chan struct{}), byID: map[string][]passcode.Result{}}
	harness.OnResult(t, nc, r.add)
	nc.SetReconnectHandler(func(*nats.Conn) { r.catchUp(nc) })
	return r
}

func (r *results) add(result passcode.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[result.RequestID] = append(r.byID[result.RequestID], result)
	close(r.changed)
	r.changed = make(chan struct{})
}

// catchUp adds what was announced before this connection was back: a worker may be
// connected again first.
func (r *results) catchUp(nc *nats.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return
	}
	bucket, err := js.KeyValue(ctx, "passcode-requests")
	if err != nil {
		return // there is none where a test deleted it
	}
	records, err := bucket.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return
	}
	for record := range records.Updates() {
		if record == nil { // that was all
			_ = records.Stop() // a connection that breaks once more is caught up with again
			return
		}
		var result passcode.Result
		if json.Unmarshal(record.Value(), &result) != nil {
			continue
		}
		if known := r.of(result.RequestID); len(known) == 0 || !reflect.DeepEqual(known[len(known)-1], result) {
			r.add(result)
		}
	}
}

// of returns what was announced of a request so far.
func (r *results) of(id string) []passcode.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]passcode.Result(nil), r.byID[id]...)
}

// statuses is the history of a request so far. A state that was announced once more,
// since a worker could not tell whether it had been, is one.
func (r *results) statuses(id string) []passcode.Status {
	var history []passcode.Status
	var last passcode.Result
	for _, one := range r.of(id) {
		if !reflect.DeepEqual(one, last) {
			history = append(history, one.Status)
		}
		last = one
	}
	return history
}

// until waits until what was announced satisfies the condition.
func (r *results) until(within time.Duration, what string, holds func(byID map[string][]passcode.Result) bool) {
	r.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		r.mu.Lock()
		ok, changed := holds(r.byID), r.changed
		n := len(r.byID)
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			require.Fail(r.t, "not announced in time", "%s; %d requests were announced", what, n)
		}
	}
}

// reach waits until each of the requests is in this state.
func (r *results) reach(status passcode.Status, ids ...string) {
	r.t.Helper()
	r.until(bound, fmt.Sprintf("%v as %s", ids, status), func(byID map[string][]passcode.Result) bool {
		return !slices.ContainsFunc(ids, func(id string) bool {
			return len(byID[id]) == 0 || byID[id][len(byID[id])-1].Status != status
		})
	})
}

// begun waits until something was announced of n requests.
func (r *results) begun(n int) {
	r.t.Helper()
	what := fmt.Sprintf("%d requests are being sent", n)
	r.until(bound, what, func(byID map[string][]passcode.Result) bool { return len(byID) >= n })
}

// finalOf is the final result in a history.
func finalOf(history []passcode.Result) (last passcode.Result, ok bool) {
	i := slices.IndexFunc(history, func(r passcode.Result) bool { return r.Final })
	if i < 0 {
		return last, false
	}
	return history[i], true
}

// final waits for the final result of a request.
func (r *results) final(id string, within time.Duration) (last passcode.Result) {
	r.t.Helper()
	r.until(within, "final result of "+id, func(byID map[string][]passcode.Result) (ok bool) {
		last, ok = finalOf(byID[id])
		return ok
	})
	return last
}

// finals waits for the final results of n requests and counts them by status.
func (r *results) finals(n int, within time.Duration) (count map[passcode.Status]int) {
	r.t.Helper()
	r.until(within, fmt.Sprintf("final results of %d requests", n), func(byID map[string][]passcode.Result) bool {
		count = map[passcode.Status]int{}
		all := 0
		for _, history := range byID {
			if one, ok := finalOf(history); ok {
				count[one.Status]++
				all++
			}
		}
		return all >= n
	})
	return count
}
