package ratelimit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// TestNextFree: a rule that was made stricter may have more places taken than it
// has; the next request is allowed when all but one of its places are free again.
func TestNextFree(t *testing.T) {
	t.Parallel()
	at := func(minutes int) int64 { return epoch.Add(time.Duration(minutes) * time.Minute).UnixNano() }
	doc := document{Entries: []entry{{"a", at(0), 1}, {"b", at(10), 1}, {"c", at(20), 1}, {"d", at(30), 1}}}
	for _, row := range []struct {
		rule domain.Rule
		used int
		free time.Duration
	}{
		{domain.Rule{Max: 5, Window: time.Hour}, 4, time.Hour},
		{domain.Rule{Max: 4, Window: time.Hour}, 4, time.Hour},
		{domain.Rule{Max: 2, Window: time.Hour}, 4, 80 * time.Minute},
		{domain.Rule{Max: 1, Window: 15 * time.Minute}, 1, 45 * time.Minute},
	} {
		// A longer rule keeps what no longer counts under this one.
		rules := []domain.Rule{row.rule, {Max: 9, Window: 2 * time.Hour}}
		got := doc.state(at(40), rules).Windows[0]
		assert.Equal(t, Window{row.rule, row.used, row.rule.Max, epoch.Add(row.free)}, got)
	}
	got := doc.state(at(40), []domain.Rule{{Max: 1, Window: time.Minute}}).Windows[0]
	assert.Zero(t, got.NextFree, "nothing is taken")
}
