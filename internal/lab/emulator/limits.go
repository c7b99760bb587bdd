package emulator

import (
	"cmp"
	"time"
)

// window is one of the service's limits: at most permits messages within span,
// sliding. The messages are the service's own, to the letter.
type window struct {
	span    time.Duration
	permits int
	message string
}

const day = 24 * time.Hour

var (
	// pairWindows hold for one signature and one phone.
	pairWindows = []window{
		{time.Minute, 1, "触发分钟级流控Permits:1"},
		{time.Hour, 5, "触发小时级流控Permits:5"},
		{day, 10, "触发天级流控Permits:10"},
	}
	// phoneWindows hold for one phone over all signatures.
	phoneWindows = []window{{day, 40, "触发号码天级流控Permits:40"}}
)

// times are when messages were accepted, oldest first, in Unix nanoseconds.
type times []int64

// exceeded returns the message of the first window that is full.
func (t times) exceeded(windows []window, now int64) string {
	for _, w := range windows {
		if len(t) >= w.permits && t[len(t)-w.permits] > now-int64(w.span) {
			return w.message
		}
	}
	return ""
}

// with appends a time and drops what no window reaches back to.
func (t times) with(at int64, most int) times {
	if len(t) > most {
		t = append(times(nil), t[len(t)-most:]...)
	}
	return append(t, at)
}

// pair is a signature and a phone's key.
type pair struct{ sign, phone string }

// limits enforces the windows. It is guarded by the emulator's lock.
type limits struct {
	pairs  map[pair]times
	phones map[string]times
}

func newLimits() *limits {
	return &limits{pairs: map[pair]times{}, phones: map[string]times{}}
}

// take counts one message to each recipient. If a window is full it counts none and
// returns the window's message.
func (l *limits) take(to []recipient, now time.Time) string {
	at := now.UnixNano()
	for i, r := range to {
		p := pair{r.sign, r.number.Key}
		message := cmp.Or(l.pairs[p].exceeded(pairWindows, at), l.phones[p.phone].exceeded(phoneWindows, at))
		if message != "" {
			l.undo(to[:i])
			return message
		}
		l.pairs[p] = l.pairs[p].with(at, 10)
		l.phones[p.phone] = l.phones[p.phone].with(at, 40)
	}
	return ""
}

// undo undoes take for messages that were not accepted after all. The lock must have
// been held since take, so that the last times are theirs.
func (l *limits) undo(to []recipient) {
	for _, r := range to {
		p := pair{r.sign, r.number.Key}
		l.pairs[p] = l.pairs[p][:len(l.pairs[p])-1]
		l.phones[p.phone] = l.phones[p.phone][:len(l.phones[p.phone])-1]
	}
}
