// Package once tells news from what was said before, so that a state that lasts is
// logged when it begins, when it changes and when it ends, and not in between.
package once

import "sync"

// most bounds how many things are kept. What has a name of its own for each request
// must not fill the memory.
const most = 64

// States holds the state of each thing that was noted last. The zero value is ready
// for use, by many goroutines. The state of a thing that nothing was noted of is "".
type States struct {
	mu   sync.Mutex
	last map[string]string
}

// Changed notes the state of a thing, and reports whether it was another before. A
// thing beyond the first 64 is no news.
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
