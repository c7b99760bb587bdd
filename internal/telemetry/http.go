package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/passcode-worker/passcode-worker/internal/text"
)

// Server serves /livez, /readyz and /metrics.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     sync.WaitGroup
}

// WorkerHeader names the worker that answers: another may have the address that somebody meant to ask.
const WorkerHeader = "Passcode-Worker"

// Serve listens on the address and serves until Close. ready returns what keeps
// the worker from doing its job, nothing where it does; it must return at once.
func Serve(ctx context.Context, address, worker string, m *Metrics, ready func() []string, log *slog.Logger) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	answer := func(w http.ResponseWriter, reasons []string) { // "ok", or 503 and one reason a line
		w.Header().Set(WorkerHeader, worker)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if len(reasons) == 0 {
			_, _ = fmt.Fprintln(w, "ok")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, reason := range reasons {
			_, _ = fmt.Fprintln(w, Scrub(text.Printable(reason)))
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	s := &Server{listener: listener, http: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	s.done.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP server failed", "error", err)
		}
	})
	return s, nil
}

// Address is where the server listens, with the port that was chosen.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the server, waiting for requests in progress until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	return err
}
