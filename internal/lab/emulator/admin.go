package emulator

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// maxFaultsBody bounds the body of POST /_/faults.
const maxFaultsBody = 1 << 20

// adminRoutes serves what the package's description lists.
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
		_ = e.SetFaults(nil) // none breaks no rule
		e.opts.Logger.Info("faults cleared")
		w.WriteHeader(http.StatusNoContent)
	})
	return routes
}

// adminSent writes the accepted messages, one JSON object a line; with ?after=N those
// after the first N. If some of those were dropped it fails, so that whoever counts
// along notices.
func (e *Emulator) adminSent(w http.ResponseWriter, r *http.Request) {
	messages, dropped := e.messages()
	if text := r.URL.Query().Get("after"); text != "" {
		after, err := strconv.Atoi(text)
		switch {
		case err != nil || after < 0:
			http.Error(w, "after must be how many messages to leave out", http.StatusBadRequest)
			return
		case after < dropped:
			http.Error(w, "the first "+strconv.Itoa(dropped)+" messages were dropped", http.StatusGone)
			return
		}
		messages = messages[min(after-dropped, len(messages)):]
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

func (e *Emulator) adminSetFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultsBody))
	if err != nil {
		http.Error(w, "the body must be at most 1 MiB", http.StatusBadRequest)
		return
	}
	if err := e.SetFaults(body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.opts.Logger.Info("faults set")
	e.writeFaults(w)
}

func (e *Emulator) writeFaults(w http.ResponseWriter) {
	e.mu.Lock()
	listed := e.faults.List()
	e.mu.Unlock()
	writeJSON(w, listed)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(encode(v), '\n')) // a reader that has gone needs no answer
}
