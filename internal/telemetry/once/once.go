// Package once tells news from what was said before, so that a state is logged when it changes, and not in between.
package once

import "sync"

// most bounds how many things are kept, as some are named by what a request holds.
const most = 64

// States holds the last state of each thing, "" at first. The zero value is ready for use, by many goroutines.
type States struct {
	mu   sync.Mutex
	last map[string]string
}

// Changed notes the state of a thing, and reports whether it was another before. Things
// beyond the first 64 are no news.
func (s *States) Changed(thing, state string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.last[thing]
	if last == state || !known && len(s.last) >= most {
		return false
	}
	if s.last == nil {
		s.last = map[string]string{}
	}
	s.last[thing] = state
	return true
}

// Last returns the state of a thing that was noted last.
func (s *States) Last(thing string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[thing]
}

// Forget makes everything news again.
func (s *States) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = nil
}
