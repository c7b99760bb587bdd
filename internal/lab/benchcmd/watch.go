package benchcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
)

// benchAudit is how often what the emulator accepted is read, a few thousand
// messages each time, so that it need not keep it.
const benchAudit = 5 * time.Second

// benchSoon is how often it is looked whether a run is over, so that a short one
// does not wait for the next second.
const benchSoon = 20 * time.Millisecond

// benchWatch looks at a run each second and shows it.
type benchWatch struct {
	e      *command.Env
	s      *benchSystem
	book   *bench.Book
	began  time.Time
	screen *benchScreen
	trend  bench.Trend
	audit  *bench.Auditor
	// audited is when what the emulator accepted was last read.
	audited time.Time
	last    bench.Sample
	// first is what the processes had used when the run began.
	first bench.Sample
	// moved is when a job last became final, or none was under way.
	moved time.Time
}

func newBenchWatch(e *command.Env, s *benchSystem, screen *benchScreen, requests bench.Requests, book *bench.Book, began time.Time) *benchWatch {
	w := &benchWatch{e: e, s: s, book: book, began: began, moved: began, audited: began, screen: screen}
	w.audit = bench.NewAuditor(requests)
	w.trend.After = screen.b.early()
	w.first.Worker, w.first.Emulator, w.first.Rest = s.usage(e.Stop)
	return w
}

// until watches until everything is published and final, somebody stops it, or
// nothing more can be expected. It returns why the run broke off, nil where it
// did not.
func (w *benchWatch) until(published <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	soon := time.NewTicker(benchSoon)
	defer soon.Stop()
	defer w.look() // a run may be shorter than a tick
	over := false
	for {
		select {
		case err := <-published: // also where the run was stopped
			if err != nil {
				return err
			}
			over = true
		case <-soon.C:
			if over && (w.settled() || w.e.Stop.Err() != nil) {
				return nil
			}
		case <-tick.C:
			w.look()
			if err := w.s.died(); err != nil {
				return err
			}
			if time.Since(w.moved) > benchStill {
				return fmt.Errorf("no job became final for %s", benchStill)
			}
		}
	}
}

func (w *benchWatch) settled() bool {
	p := w.book.Total()
	return p.Final == p.Published
}

// look takes a sample.
func (w *benchWatch) look() {
	ctx, cancel := context.WithTimeout(w.e.Force, time.Second)
	defer cancel()
	s := bench.Sample{Elapsed: time.Since(w.began), Progress: w.book.Progress()}
	s.Worker, s.Emulator, s.Rest = w.s.usage(ctx)
	if s.Worker == (bench.Usage{}) { // it is too busy to answer
		s.Worker = w.last.Worker
	} else {
		w.trend.Add(s)
	}
	if took := s.Elapsed - w.last.Elapsed; took > 0 {
		s.Rate = float64(s.Final-w.last.Final) / took.Seconds()
	}
	if s.Final > w.last.Final || s.Final == s.Published {
		w.moved = time.Now()
	}
	w.screen.sample(s, w.last)
	w.last = s
	if time.Since(w.audited) >= benchAudit {
		reading, cancel := context.WithTimeout(w.e.Force, benchAudit)
		defer cancel()
		_ = w.s.accepted(reading, w.audit) // what is not read now is read the next time
		w.audited = time.Now()
	}
}

// drain waits for the jobs under way, where the run was told to stop.
func (w *benchWatch) drain() {
	if w.settled() || w.s.died() != nil {
		return
	}
	w.screen.draining()
	defer w.look()
	bound := time.NewTimer(benchDrain)
	defer bound.Stop()
	soon := time.NewTicker(benchSoon)
	defer soon.Stop()
	for !w.settled() && w.s.died() == nil {
		select {
		case <-soon.C:
		case <-bound.C:
			return
		case <-w.e.Force.Done():
			return
		}
	}
}

// summary is what came of the run.
func (w *benchWatch) summary(ctx context.Context) (bench.Summary, error) {
	last := bench.Sample{Elapsed: time.Since(w.began), Progress: w.book.Total()}
	last.Worker, last.Emulator, last.Rest = w.s.usage(ctx)
	if last.Worker == (bench.Usage{}) {
		last.Worker = w.last.Worker
	}
	if err := w.s.accepted(ctx, w.audit); err != nil {
		return bench.Summary{}, err
	}
	return bench.Summarise(w.first, last, &w.trend, w.audit.Close(w.book)), nil
}
