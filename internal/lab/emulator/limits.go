package emulator

import "time"

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
	phoneWindows = []window{
		{day, 40, "触发号码天级流控Permits:40"},
	}
)

// history is when messages were accepted, oldest first, in Unix nanoseconds.
type history []int64

// exceeded returns the message of the first window that is full.
func (h history) exceeded(windows []window, now int64) string {
	for _, w := range windows {
		if len(h) >= w.permits && h[len(h)-w.permits] > now-int64(w.span) {
			return w.message
		}
	}
	return ""
}

// limits enforces the windows. It is guarded by the emulator's lock.
type limits struct {
	pairs  map[[2]string]history
	phones map[string]history
}

func newLimits() *limits {
	return &limits{pairs: map[[2]string]history{}, phones: map[string]history{}}
}

// take counts one message to each number, or none of them and returns the
// message of the window that is full.
func (l *limits) take(sign string, numbers []number, now time.Time) string {
	at := now.UnixNano()
	for i, n := range numbers {
		pair := [2]string{sign, n.key}
		message := l.pairs[pair].exceeded(pairWindows, at)
		if message == "" {
			message = l.phones[n.key].exceeded(phoneWindows, at)
		}
		if message != "" {
			l.giveBack(sign, numbers[:i])
			return message
		}
		l.pairs[pair] = add(l.pairs[pair], at, 10)
		l.phones[n.key] = add(l.phones[n.key], at, 40)
	}
	return ""
}

// giveBack undoes take for messages that were not accepted after all. It must
// follow take under one holding of the lock, so that the last entries are they.
func (l *limits) giveBack(sign string, numbers []number) {
	for _, n := range numbers {
		pair := [2]string{sign, n.key}
		l.pairs[pair] = l.pairs[pair][:len(l.pairs[pair])-1]
		l.phones[n.key] = l.phones[n.key][:len(l.phones[n.key])-1]
	}
}

// add appends to a history and drops what no window reaches back to.
func add(h history, at int64, most int) history {
	if len(h) > most {
		h = append(history(nil), h[len(h)-most:]...)
	}
	return append(h, at)
}
