package ratelimit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestDocumentIsSortedOnReading(t *testing.T) {
	t.Parallel()
	doc, err := decodeDocument([]byte(`{"entries":[{"id":"late","at":9},{"id":"early","at":1}],"later_member":true}`))
	require.NoError(t, err)
	assert.Equal(t, []entry{{"early", 1, 0}, {"late", 9, 0}}, doc.Entries)
}

func TestDocumentRefuses(t *testing.T) {
	t.Parallel()
	many := make([]entry, domain.MaxPlaces+1)
	for i := range many {
		many[i] = entry{fmt.Sprintf("r%d", i), 1, 0}
	}
	tooMany, err := json.Marshal(document{Entries: many})
	require.NoError(t, err)
	for name, data := range map[string]string{
		"text":             "+8613812345678",
		"array":            "[]",
		"number":           "5",
		"half":             `{"entries":[`,
		"two":              `{}{}`,
		"id missing":       `{"entries":[{"at":5}]}`,
		"id not an id":     `{"entries":[{"id":"a b","at":5}]}`,
		"id twice":         `{"entries":[{"id":"a","at":5},{"id":"a","at":6}]}`,
		"time missing":     `{"entries":[{"id":"a"}]}`,
		"time negative":    `{"entries":[{"id":"a","at":-5}]}`,
		"time too late":    `{"entries":[{"id":"a","at":9223372036854775807}]}`,
		"time a fraction":  `{"entries":[{"id":"a","at":1.5}]}`,
		"time too large":   `{"entries":[{"id":"a","at":99999999999999999999}]}`,
		"closed before":    `{"closed_until":-1}`,
		"closed for ever":  `{"closed_until":9223372036854775807}`,
		"too many entries": string(tooMany),
		"too long":         `{"x":"` + strings.Repeat("x", maxDocumentBytes) + `"}`,
	} {
		_, err := decodeDocument([]byte(data))
		require.ErrorIs(t, err, ErrCorrupt, name)
		assert.NotContains(t, err.Error(), "13812345678", name)
	}
}

// TestLargestDocument shows that what the rules allow at most can be read back.
func TestLargestDocument(t *testing.T) {
	t.Parallel()
	doc := document{}
	list := []domain.Rule{{Max: domain.MaxPlaces, Window: domain.MaxWindow}}
	now := maxTime - 2*domain.MaxPlaces
	for i := range domain.MaxPlaces {
		_, changed := doc.reserve(fmt.Sprintf("%064d", i), 1, now+int64(i), list)
		require.True(t, changed)
	}
	data, err := json.Marshal(doc)
	require.NoError(t, err)
	again, err := decodeDocument(data)
	require.NoError(t, err)
	assert.Len(t, again.Entries, domain.MaxPlaces)
	answer, _ := again.reserve("more", 1, now+domain.MaxPlaces, list)
	assert.False(t, answer.Allowed)
	assert.Equal(t, domain.MaxWindow-domain.MaxPlaces, answer.RetryAfter)
}

// TestNextFree: a rule that was made stricter may have more reservations than it
// has; the next request is allowed when all but one of them have left the window.
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

func TestBucketTTL(t *testing.T) {
	t.Parallel()
	// A closure of a day must be kept even where all windows are short.
	assert.Equal(t, 26*time.Hour, BucketTTL(nil))
	assert.Equal(t, 26*time.Hour, BucketTTL(rules(t, "1/1m")))
	assert.Equal(t, 50*time.Hour, BucketTTL(rules(t, "1/1m", "9/48h", "5/1h")))
}

func FuzzDecodeDocument(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"entries":[{"id":"a","at":1767323045000000000}],"closed_until":1767323046000000000}`,
		`{"entries":[{"id":"a","at":7258118400000000000},{"id":"b","at":1}]}`, `{"entries":null}`, `[`, `{"entries":[{}]}`,
	} {
		f.Add([]byte(seed))
	}
	list := []domain.Rule{{Max: 1, Window: domain.MaxWindow}, {Max: 3, Window: 1}}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decodeDocument(data)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		encoded, err := json.Marshal(doc)
		require.NoError(t, err)
		again, err := decodeDocument(encoded)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(doc, again, cmp.AllowUnexported(document{}, entry{}), cmpopts.EquateEmpty()))

		// Whatever could be read must lead to an answer that makes sense.
		now := epoch.UnixNano()
		answer, changed := doc.reserve("fuzz", 1, now, list)
		if !answer.Allowed {
			require.False(t, changed)
			require.Positive(t, answer.RetryAfter)
			require.NotEmpty(t, answer.Rule)
			return
		}
		second, _ := doc.reserve("another", 1, now, list)
		require.False(t, changed && second.Allowed, "one reservation only")
		doc.state(now, list)
	})
}
