package emulator

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxFaultsBody bounds the body of POST /_/faults.
const maxFaultsBody = 1 << 20

// serveAdmin serves the routes under "/_/".
func (e *Emulator) serveAdmin(w http.ResponseWriter, r *http.Request, route string) {
	routes := map[string]map[string]http.HandlerFunc{
		"sent":  {http.MethodGet: e.adminSent},
		"stats": {http.MethodGet: func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, e.Stats()) }},
		"reset": {http.MethodPost: e.adminReset},
		"faults": {
			http.MethodGet:    func(w http.ResponseWriter, _ *http.Request) { e.writeFaults(w) },
			http.MethodPost:   e.adminSetFaults,
			http.MethodDelete: e.adminClearFaults,
		},
	}
	methods, ok := routes[route]
	if !ok {
		http.Error(w, "the routes are sent, stats, reset and faults", http.StatusNotFound)
		return
	}
	handler, ok := methods[r.Method]
	if !ok {
		var allowed []string
		for method := range methods {
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		http.Error(w, "the method must be one of "+strings.Join(allowed, ", "), http.StatusMethodNotAllowed)
		return
	}
	handler(w, r)
}

// adminSent writes the accepted messages, one JSON object a line; with ?after=N
// those behind the first N. What is asked for and was forgotten is an error, so
// that whoever counts along misses none unawares.
func (e *Emulator) adminSent(w http.ResponseWriter, r *http.Request) {
	messages, forgotten := e.messages()
	if text := r.URL.Query().Get("after"); text != "" {
		after, err := strconv.Atoi(text)
		switch {
		case err != nil || after < 0:
			http.Error(w, "after must be how many messages to leave out", http.StatusBadRequest)
			return
		case after < forgotten:
			http.Error(w, "the first "+strconv.Itoa(forgotten)+" messages were forgotten", http.StatusGone)
			return
		}
		messages = messages[min(after-forgotten, len(messages)):]
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	buffered := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buffered)
	enc.SetEscapeHTML(false)
	for _, m := range messages {
		if err := enc.Encode(m.sent()); err != nil {
			return // the reader has gone
		}
	}
	_ = buffered.Flush() // the same
}

func (e *Emulator) adminReset(w http.ResponseWriter, _ *http.Request) {
	e.Reset()
	e.opts.Logger.Info("reset")
	w.WriteHeader(http.StatusNoContent)
}

func (e *Emulator) adminSetFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultsBody))
	if err != nil {
		http.Error(w, "the body must be at most 1 MiB", http.StatusBadRequest)
		return
	}
	faults, err := decodeFaults(body)
	if err == nil {
		err = e.SetFaults(faults)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.opts.Logger.Info("faults set", "faults", len(faults))
	e.writeFaults(w)
}

func (e *Emulator) adminClearFaults(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	e.faults = nil
	e.mu.Unlock()
	e.opts.Logger.Info("faults cleared")
	w.WriteHeader(http.StatusNoContent)
}

func (e *Emulator) writeFaults(w http.ResponseWriter) {
	e.mu.Lock()
	listed := e.faults.list()
	e.mu.Unlock()
	writeJSON(w, http.StatusOK, listed)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(encode(v), '\n')) // a reader that has gone needs no answer
}
