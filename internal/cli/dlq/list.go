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
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	screenful  = 50 // how many dead letters a terminal is given unasked
	shownCodes = 3  // how many error codes of a reason a summary names
)

type listCmd struct {
	filterFlags
	Limit   int  `placeholder:"N" help:"At most so many; 0 is all. On a terminal 50 where left out, elsewhere all."  default:"-1"`
	Summary bool `help:"Count them by reason instead."`
	JSON    bool `name:"json" help:"One JSON object a line."`
}

func (listCmd) Help() string {
	return `Looking takes nothing away. Passcodes are never shown, phone numbers masked.

  worker dlq list --summary
  worker dlq list --reason config --since 2h`
}

func (c *listCmd) Run(e *command.Env) error {
	s, err := open(e, c.filter)
	if err != nil {
		return err
	}
	if c.Summary {
		return c.summarise(s)
	}
	limit := c.Limit
	if limit < 0 && !c.JSON && show.IsTerminal(e.Stdout) {
		limit = screenful
	}
	list := show.NewListing(e.Stdout, c.JSON, "AGE", "REQUEST", "REASON", "ERROR CODE", "PHONE", "ATTEMPTS", "REPLAYS", "EXPIRES")
	shown, more := 0, false
	for stored, err := range s.letters.NewestFirst(e.Stop, s.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		if more = limit > 0 && shown == limit; more {
			break
		}
		shown++
		one := s.letter(stored)
		list.Add(one, show.Span(s.now.Sub(one.DeadAt)), one.ID, one.Reason, one.code(), cmp.Or(one.Phone, "-"),
			one.Attempts, one.Replays, one.expiry(s.now))
	}
	if err := list.Flush(); err != nil {
		return err
	}
	switch {
	case c.JSON:
	case shown == 0:
		e.Note("no dead letters%s", s.picked())
	case more:
		e.Note("the newest %d; --limit 0 lists all, --summary counts them", shown)
	default:
		e.Note("%s; \"worker dlq show REQUEST\" tells all about one", show.CountOf(shown, "dead letter"))
	}
	return nil
}

type tally struct {
	Reason     passcode.Reason `json:"reason"`
	Count      int             `json:"count"`
	Expired    int             `json:"expired"`
	Oldest     time.Time       `json:"oldest"`
	Newest     time.Time       `json:"newest"`
	ErrorCodes map[string]int  `json:"error_codes"`
}

func (t *tally) add(l letter) {
	t.Count++
	if l.Expired {
		t.Expired++
	}
	if t.Count == 1 || l.DeadAt.Before(t.Oldest) {
		t.Oldest = l.DeadAt
	}
	if l.DeadAt.After(t.Newest) {
		t.Newest = l.DeadAt
	}
	t.ErrorCodes[l.code()]++
}

// counted names the most frequent ones, each with its count.
func counted[K ~string](counts map[K]int, most int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b))
	})
	var texts []string
	for _, name := range names[:min(len(names), most)] {
		texts = append(texts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if more := len(names) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}

func (c *listCmd) summarise(s *session) error {
	byReason := map[passcode.Reason]*tally{}
	total := 0
	for stored, err := range s.letters.OldestFirst(s.Stop, s.filter) {
		if err != nil {
			return command.Stopped(s.Stop, err)
		}
		t := byReason[stored.Reason]
		if t == nil {
			t = &tally{Reason: stored.Reason, ErrorCodes: map[string]int{}}
			byReason[t.Reason] = t
		}
		t.add(s.letter(stored))
		total++
	}
	tallies := slices.SortedFunc(maps.Values(byReason), func(a, b *tally) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason))
	})
	list := show.NewListing(s.Stdout, c.JSON, "REASON", "COUNT", "EXPIRED", "OLDEST", "NEWEST", "ERROR CODES")
	for _, t := range tallies {
		list.Add(t, t.Reason, t.Count, t.Expired, show.Span(s.now.Sub(t.Oldest)), show.Span(s.now.Sub(t.Newest)), counted(t.ErrorCodes, shownCodes))
	}
	if total > 0 {
		list.Row("total", total)
	}
	if err := list.Flush(); err != nil {
		return err
	}
	switch {
	case c.JSON:
	case total == 0:
		s.Note("no dead letters%s", s.picked())
	default:
		s.Note("next: \"worker dlq replay --reason %s --dry-run\" says what a replay would do", tallies[0].Reason)
	}
	return nil
}
