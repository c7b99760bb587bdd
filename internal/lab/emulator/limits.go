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

// with returns the recipients' limits with one more message to each, or the message of the first window that is full.
func (l limits) with(to []recipient, now time.Time) (after limits, full string) {
	after = limits{}
	for _, r := range to {
		before, again := after[r.number.Key]
		if !again {
			before = slices.DeleteFunc(slices.Clone(l[r.number.Key]), func(c counted) bool { return now.Sub(c.at) >= day })
		}
		for _, w := range windows {
			n := 0
			for _, c := range before {
				if now.Sub(c.at) < w.span && (w.allSigns || c.sign == r.sign) {
					n++
				}
			}
			if n >= w.permits {
				return nil, w.message
			}
		}
		after[r.number.Key] = append(before, counted{r.sign, now})
	}
	return after, ""
}
