package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// history is what happened, in the order of time.
type history struct {
	mu    sync.Mutex
	lines []moment
	acked map[string][]moment
}

// moment is a line of the history.
type moment struct {
	at   time.Time
	who  string
	what string
}

func (m moment) String() string {
	return fmt.Sprintf("%s  %-10s %s", m.at.UTC().Format("15:04:05.000"), m.who, m.what)
}

func newHistory() *history { return &history{acked: map[string][]moment{}} }

func (h *history) add(who, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, moment{time.Now(), who, fmt.Sprintf(format, args...)})
}

func (h *history) published(id string, copied int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := "acknowledged"
	if copied > 0 {
		what = "repeated, acknowledged"
	}
	h.acked[id] = append(h.acked[id], moment{time.Now(), "producer", what})
}

// journey tells all that is known of a request, and what happened around it.
func (s *system) journey(seen observed, id string) string {
	r := seen.requests[id]
	if r == nil {
		return ""
	}
	s.history.mu.Lock()
	moments := slices.Clone(s.history.acked[id])
	around := slices.Clone(s.history.lines)
	s.history.mu.Unlock()
	for _, a := range r.announced {
		what, err := json.Marshal(a.Result)
		require.NoError(s.t, err)
		moments = append(moments, moment{a.UpdatedAt, "announced", string(what)})
	}
	for _, a := range r.accepted {
		moments = append(moments, moment{a.At, "Aliyun", "accepted it as " + a.BizID})
	}
	moments = append(moments, s.logged(id)...)
	byTime := func(a, b moment) int { return a.at.Compare(b.at) }
	slices.SortStableFunc(moments, byTime)
	if len(moments) > 0 {
		first, last := moments[0].at, moments[len(moments)-1].at
		for _, m := range around {
			if !m.at.Before(first) && !m.at.After(last) {
				moments = append(moments, m)
			}
		}
		slices.SortStableFunc(moments, byTime)
	}
	var b strings.Builder
	for _, m := range moments {
		fmt.Fprintln(&b, m)
	}
	fmt.Fprintf(&b, "dead letters: %v\n", r.dead)
	return b.String()
}

// logged is what the workers logged of a request.
func (s *system) logged(id string) (moments []moment) {
	mark := fmt.Sprintf(`"request_id":%q`, id)
	for _, w := range s.workers {
		for _, p := range w.all {
			for line := range strings.Lines(p.Output()) {
				if !strings.Contains(line, mark) {
					continue
				}
				var entry struct {
					Time  time.Time `json:"time"`
					Msg   string    `json:"msg"`
					Error string    `json:"error"`
				}
				if err := json.Unmarshal([]byte(line), &entry); err == nil {
					moments = append(moments, moment{entry.Time, w.name,
						fmt.Sprintf("[%d] logs: %s %s", p.PID(), entry.Msg, entry.Error)})
				}
			}
		}
	}
	return moments
}

// writeHistory writes down what happened, and the way of each request that broke
// a promise.
func (s *system) writeHistory(seen observed, broken []violation) {
	s.t.Helper()
	dir := *keepLogs
	if dir == "" {
		root, err := harness.Root()
		require.NoError(s.t, err)
		dir = filepath.Join(root, "bin", "chaos")
	}
	require.NoError(s.t, os.MkdirAll(dir, 0o755))
	var b strings.Builder
	s.history.mu.Lock()
	for _, m := range s.history.lines {
		fmt.Fprintln(&b, m)
	}
	s.history.mu.Unlock()
	ways := map[string][]string{}
	for _, v := range broken {
		ways[v.id] = append(ways[v.id], v.what)
	}
	for _, id := range slices.SortedFunc(maps.Keys(ways), cmp.Compare[string]) {
		fmt.Fprintf(&b, "\n%s: %s\n%s", id, strings.Join(ways[id], "; "), s.journey(seen, id))
	}
	file := filepath.Join(dir, fmt.Sprintf("seed-%d-on-%d.txt", s.seed, s.nodes))
	require.NoError(s.t, os.WriteFile(file, []byte(b.String()), 0o600))
	s.t.Logf("seed %d: the history is in %s", s.seed, file)
}
