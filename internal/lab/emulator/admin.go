package emulator

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
)

const maxFaultsBody = 1 << 20 // of POST /_/faults, one SPEC a line

func (e *Emulator) adminRoutes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /_/sent", e.adminSent)
	routes.HandleFunc("GET /_/stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, e.Stats()) })
	routes.HandleFunc("POST /_/reset", func(w http.ResponseWriter, _ *http.Request) {
		e.Reset()
		e.opts.Logger.Info("reset")
		w.WriteHeader(http.StatusNoContent)
	})
	routes.HandleFunc("GET /_/faults", func(w http.ResponseWriter, _ *http.Request) { e.writeFaults(w) })
	routes.HandleFunc("POST /_/faults", e.adminSetFaults)
	routes.HandleFunc("DELETE /_/faults", func(w http.ResponseWriter, _ *http.Request) {
		_ = e.SetFaults("") // none breaks no rule
		e.opts.Logger.Info("faults cleared")
		w.WriteHeader(http.StatusNoContent)
	})
	return routes
}

// adminSent lists what was accepted, one JSON object a line, oldest first; with ?after=N without the first N. It
// fails with 410 if some of the messages asked for were dropped, so that whoever counts along notices.
func (e *Emulator) adminSent(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	messages, dropped := e.store.all, e.store.dropped // read without the lock below: reset and sweep begin a new slice
	e.mu.Unlock()
	after, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("after"), strconv.Itoa(dropped)))
	switch {
	case err != nil || after < 0:
		http.Error(w, "after must be how many messages to leave out", http.StatusBadRequest)
		return
	case after < dropped:
		http.Error(w, "the first "+strconv.Itoa(dropped)+" messages were dropped", http.StatusGone)
		return
	}
	messages = messages[min(after-dropped, len(messages)):]
	w.Header().Set("Content-Type", "application/x-ndjson")
	buffered := bufio.NewWriterSize(w, 64<<10)
	for _, m := range messages {
		if _, err := buffered.Write(append(encode(m.sent()), '\n')); err != nil {
			return // the reader has gone
		}
	}
	_ = buffered.Flush() // the same
}

func (e *Emulator) adminSetFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultsBody))
	if err != nil {
		http.Error(w, "the body must be at most 1 MiB", http.StatusBadRequest)
		return
	}
	if err := e.SetFaults(string(body)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.opts.Logger.Info("faults set")
	e.writeFaults(w)
}

func (e *Emulator) writeFaults(w http.ResponseWriter) {
	e.mu.Lock()
	listed := json.RawMessage(encode(append(fault.Set{}, e.faults...))) // [] if there is none
	e.mu.Unlock()
	writeJSON(w, listed)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(encode(v), '\n')) // a reader that has gone needs no answer
}

// Stats counts what the emulator did since it began or was reset.
type Stats struct {
	// Requests counts by action, all that are not served as "unknown". Answers counts by
	// code, or a fault that answers no code by its kind, such as "accept_drop".
	Requests    map[string]int64 `json:"requests"`
	Answers     map[string]int64 `json:"answers"`
	Accepted    int64            `json:"accepted"`  // messages, one for each number
	Throttled   int64            `json:"throttled"` // answers with one of the Throttling codes
	Faults      int64            `json:"faults"`    // requests that met one
	InFlight    int64            `json:"in_flight"`
	MaxInFlight int64            `json:"max_in_flight"`
	Reports     ReportStats      `json:"reports"`
}

// ReportStats counts delivery reports, one for each message.
type ReportStats struct {
	Delivered int64 `json:"delivered"` // answered as the service wants it
	Failed    int64 `json:"failed"`    // pushes; each but the last is repeated
	GivenUp   int64 `json:"given_up"`
}

func newStats() Stats { return Stats{Requests: map[string]int64{}, Answers: map[string]int64{}} }

// Stats returns the counters.
func (e *Emulator) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Requests, s.Answers = maps.Clone(s.Requests), maps.Clone(s.Answers)
	if e.pusher != nil {
		s.Reports = e.pusher.stats()
	}
	return s
}

// answered counts an answer before it is written, so that a test which has the answer finds it counted.
func (e *Emulator) answered(action string, a answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Requests[cmp.Or(action, "unknown")]++
	e.stats.Answers[a.label]++
	if a.fault != "" {
		e.stats.Faults++
	}
	if strings.HasPrefix(a.label, "Throttling") {
		e.stats.Throttled++
	}
}
