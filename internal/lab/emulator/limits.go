package emulator

import (
	"slices"
	"time"
)

const day = 24 * time.Hour

// windows are the service's limits for one phone: at most permits messages within span,
// sliding, of one signature or of all. The messages are the service's own, to the letter.
var windows = []struct {
	span     time.Duration
	permits  int
	allSigns bool
	message  string
}{
	{time.Minute, 1, false, "触发分钟级流控Permits:1"},
	{time.Hour, 5, false, "触发小时级流控Permits:5"},
	{day, 10, false, "触发天级流控Permits:10"},
	{day, 40, true, "触发号码天级流控Permits:40"},
}

// counted is a message that counts in the windows.
type counted struct {
	sign string
	at   time.Time
}

// limits enforces the windows: by phone, the messages that they reach back to, oldest
// first. The last window bounds their number. The emulator's lock guards it.
type limits map[string][]counted

// take counts one message to each recipient. If a window is full it counts none and returns the window's message.
func (l limits) take(to []recipient, now time.Time) string {
	for i, r := range to {
		before := slices.DeleteFunc(l[r.number.Key], func(c counted) bool { return now.Sub(c.at) >= day })
		for _, w := range windows {
			n := 0
			for _, c := range before {
				if now.Sub(c.at) < w.span && (w.allSigns || c.sign == r.sign) {
					n++
				}
			}
			if n >= w.permits {
				l[r.number.Key] = before
				l.undo(to[:i])
				return w.message
			}
		}
		l[r.number.Key] = append(before, counted{r.sign, now})
	}
	return ""
}

// undo undoes take for messages that were not accepted after all. The lock must have
// been held since take, so that the last ones are theirs.
func (l limits) undo(to []recipient) {
	for _, r := range to {
		l[r.number.Key] = l[r.number.Key][:len(l[r.number.Key])-1]
	}
}
