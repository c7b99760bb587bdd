package dlq

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// shownCodes is how many error codes of a reason a summary names.
const shownCodes = 3

// tally counts the dead letters of one reason.
type tally struct {
	Reason     passcode.Reason `json:"reason"`
	Count      int             `json:"count"`
	Expired    int             `json:"expired"`
	Oldest     time.Time       `json:"oldest"`
	Newest     time.Time       `json:"newest"`
	ErrorCodes map[string]int  `json:"error_codes"`
}

func (t *tally) add(s deadletter.Stored, expired bool) {
	t.Count++
	if expired {
		t.Expired++
	}
	at := s.DiedAt().UTC()
	if t.Oldest.IsZero() || at.Before(t.Oldest) {
		t.Oldest = at
	}
	if at.After(t.Newest) {
		t.Newest = at
	}
	t.ErrorCodes[codeOf(s)]++
}

// codes names the most frequent codes.
func (t *tally) codes() string {
	codes := slices.SortedFunc(maps.Keys(t.ErrorCodes), func(a, b string) int {
		return cmp.Or(t.ErrorCodes[b]-t.ErrorCodes[a], strings.Compare(a, b))
	})
	texts := make([]string, 0, shownCodes+1)
	for i, code := range codes {
		if i == shownCodes {
			texts = append(texts, fmt.Sprintf("%d more", len(codes)-i))
			break
		}
		texts = append(texts, fmt.Sprintf("%s %d", code, t.ErrorCodes[code]))
	}
	return strings.Join(texts, ", ")
}

// summarise counts the dead letters by reason.
func (l *listCmd) summarise(e *command.Env, d *session) error {
	byReason := map[passcode.Reason]*tally{}
	total := 0
	for s, err := range d.letters.OldestFirst(e.Stop, d.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		t := byReason[s.Reason()]
		if t == nil {
			t = &tally{Reason: s.Reason(), ErrorCodes: map[string]int{}}
			byReason[s.Reason()] = t
		}
		job, _ := s.Job() // what can be read of it
		t.add(s, expired(s.ExpiresAt(job, d.cfg.Worker.PasscodeTTL), d.now))
		total++
	}
	tallies := slices.SortedFunc(maps.Values(byReason), func(a, b *tally) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason))
	})
	if l.JSON {
		lines := show.JSONLines(e.Stdout)
		for _, t := range tallies {
			if err := lines.Encode(t); err != nil {
				return err
			}
		}
		return nil
	}
	if total == 0 {
		show.Say(e.Stderr, "no dead letters%s", picked(d.filter))
		return nil
	}
	const row = "%-9s  %9v  %9v  %6s  %6s  %s\n"
	fmt.Fprintf(e.Stdout, row, "REASON", "COUNT", "EXPIRED", "OLDEST", "NEWEST", "ERROR CODES")
	for _, t := range tallies {
		fmt.Fprintf(e.Stdout, row, t.Reason, t.Count, t.Expired,
			show.Span(d.now.Sub(t.Oldest)), show.Span(d.now.Sub(t.Newest)), t.codes())
	}
	fmt.Fprintf(e.Stdout, "%-9s  %9d\n", "total", total)
	show.Say(e.Stderr, "next: \"worker dlq replay --reason %s --dry-run\" says what a replay would do", tallies[0].Reason)
	return nil
}
