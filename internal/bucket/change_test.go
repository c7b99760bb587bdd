package bucket_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// TestOwnWrites: of a write whose answer was lost a change knows that it was its
// own, and never of one that was surely refused.
func TestOwnWrites(t *testing.T) {
	t.Parallel()
	const none, refuse, loseRequest, lose, stale = buckettest.None, buckettest.Refuse, buckettest.LoseRequest, buckettest.LoseAnswer, buckettest.Stale
	for name, test := range map[string]struct {
		before string // the value beforehand
		meet   string // what somebody else writes before the second try
		write  []buckettest.Fault
		get    []buckettest.Fault
		own    bool
		found  []string // what decide is told in turn, "own" for our own write
		writes int
	}{
		"no trouble":                     {found: []string{""}, writes: 1},
		"refused":                        {write: []buckettest.Fault{refuse, refuse}, found: []string{""}, writes: 1},
		"the request is lost":            {write: []buckettest.Fault{loseRequest}, found: []string{""}, writes: 1},
		"the answer is lost":             {write: []buckettest.Fault{lose}, own: true, found: []string{"", "own"}, writes: 1},
		"it is lost twice":               {write: []buckettest.Fault{lose, lose}, own: true, found: []string{"", "own"}, writes: 1},
		"request, then answer":           {write: []buckettest.Fault{loseRequest, lose}, own: true, found: []string{"", "own"}, writes: 1},
		"lost, then an old value":        {write: []buckettest.Fault{lose}, get: []buckettest.Fault{stale, stale}, own: true, found: []string{"", "own"}, writes: 1},
		"lost, and an older value":       {before: "old", write: []buckettest.Fault{none, lose}, get: []buckettest.Fault{none, stale}, own: true, found: []string{"", "old", "own"}, writes: 1},
		"another's equal bytes, refused": {meet: "ours", write: []buckettest.Fault{refuse}, found: []string{"", "ours"}, writes: 1},
		"lost over another's value":      {before: "old", write: []buckettest.Fault{lose}, found: []string{"", "old"}, writes: 1},
		"another's, after a lost one":    {meet: "theirs", write: []buckettest.Fault{loseRequest}, found: []string{"", "theirs"}, writes: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := buckettest.New(nil)
				if test.before != "" {
					f.Put("a", []byte(test.before))
				}
				f.Script(map[buckettest.Op][]buckettest.Fault{buckettest.Write: test.write, buckettest.Get: test.get})
				if test.meet != "" {
					time.AfterFunc(time.Millisecond, func() { f.Put("a", []byte(test.meet)) })
				}
				written := f.Writes()
				var found []string
				entry, err := f.Bucket().Change(t.Context(), "a", &bucket.Entry{}, func(e bucket.Entry) ([]byte, error) {
					if e.Own {
						found = append(found, "own")
						return nil, nil
					}
					found = append(found, string(e.Value))
					if string(e.Value) == "ours" {
						return nil, nil
					}
					return []byte("ours"), nil
				})
				require.NoError(t, err)
				assert.Equal(t, test.own, entry.Own)
				assert.Equal(t, f.Entry("a").Revision, entry.Revision)
				assert.Equal(t, "ours", string(f.Entry("a").Value))
				assert.Equal(t, test.found, slices.Compact(found))
				assert.Equal(t, test.writes, f.Writes()-written)
			})
		})
	}
}

// TestRacesAreNotFought: who loses again and again waits in between.
func TestRacesAreNotFought(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := buckettest.New(nil)
		f.Always(buckettest.Conflict, buckettest.Write)
		observed := 0
		ctx := retry.Observe(t.Context(), func(error) { observed++ })
		writes := 0
		_, err := f.Bucket().Change(ctx, "a", nil, func(bucket.Entry) ([]byte, error) { writes++; return []byte("x"), nil })
		require.ErrorIs(t, err, bucket.ErrConflict)
		require.ErrorIs(t, err, retry.ErrGaveUp)
		assert.Less(t, writes, 100)
		assert.Zero(t, observed, "it is no trouble of the broker")
	})
}
