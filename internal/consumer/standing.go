package consumer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// The things in the broker that jobs need.
const (
	recordsOf = "the records"
	limitsOf  = "the limits"
	lettersOf = "the dead letters"
	jobsOf    = "the jobs"
)

// thingOf is what an operation works on; the operations are those of the metric.
var thingOf = map[string]string{
	"claim": recordsOf, "count attempt": recordsOf, "look up": recordsOf,
	"record": recordsOf, "abandoned": recordsOf, "recover": recordsOf,
	"reserve": limitsOf, "close phone": limitsOf, "release": limitsOf,
	"dead letter": lettersOf, "find owner": jobsOf,
}

// standing is trouble with the broker that stands: since when each thing has
// failed and not worked again. A single operation that fails is tried again, and
// nobody need know; but where none succeeds no job comes to its end, and the
// worker's readiness says so.
type standing struct {
	now func() time.Time
	// any spares those for whom all is well the lock.
	any atomic.Bool
	mu  sync.Mutex
	of  map[string]failure
}

type failure struct {
	since, last time.Time
	operation   string
	err         error
}

const (
	// standsAfter is how long a thing must have failed to be told of.
	standsAfter = 2 * time.Second
	// forgetAfter is after what time without a failure it is taken to be over: a
	// job that failed comes again well before that.
	forgetAfter = time.Minute
)

// failed takes note of an operation that failed, for a reason that is the broker's.
func (s *standing) failed(operation string, err error) {
	thing, ok := thingOf[operation]
	if !ok || errors.Is(err, domain.ErrConflict) || errors.Is(err, domain.ErrCorrupt) || errors.Is(err, domain.ErrUnstorable) {
		return
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.of[thing]
	if !ok {
		f.since = now
	}
	f.last, f.operation, f.err = now, operation, err
	s.of[thing] = f
	s.any.Store(true)
}

// worked takes note of an operation that succeeded.
func (s *standing) worked(operation string) {
	if !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, thingOf[operation])
	s.any.Store(len(s.of) > 0)
}

// list says what stands, in a fixed order. Each wraps the last failure.
func (s *standing) list() []error {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for thing, f := range s.of {
		switch {
		case now.Sub(f.last) > forgetAfter:
			delete(s.of, thing)
		case now.Sub(f.since) >= standsAfter:
			all = append(all, fmt.Errorf("%s fail since %s (%s: %w)", thing, f.since.Format(time.RFC3339), f.operation, f.err))
		}
	}
	s.any.Store(len(s.of) > 0)
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return all
}

// Standing says what in the broker has failed for a while, so that jobs wait.
func (c *Consumer) Standing() []error { return c.standing.list() }
