package show

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/text"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0:                       "2026-11-22 12:00:00 UTC, now",
		1500 * time.Millisecond: "2026-11-22 12:00:01 UTC, in 1.5s",
		-42 * time.Second:       "2026-11-22 11:59:18 UTC, 42s ago",
		-90 * time.Minute:       "2026-11-22 10:30:00 UTC, 1h30m ago",
		49 * time.Hour:          "2026-11-24 13:00:00 UTC, in 49h",
	} {
		assert.Equal(t, want, Moment(noon.Add(d), noon))
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", -90 * time.Second: "1m", 59 * time.Minute: "59m",
		47 * time.Hour: "47h", 49 * time.Hour: "2d",
	} {
		assert.Equal(t, want, Span(d))
	}
}

// TestNothingHiddenIsShown: what a producer, the broker or Aliyun wrote reaches a
// terminal without what it acts upon, whatever shows it.
func TestNothingHiddenIsShown(t *testing.T) {
	t.Parallel()
	const evil = "a\u202Eb\u200Bc\x1b[31md\u009be\nf\u2028g\u0007"
	type word string
	shown := map[string]func(io.Writer) error{
		"line": func(w io.Writer) error {
			Line(w, "%s %v %s %v %d", evil, errors.New(evil), []byte(evil), []string{evil}, 7)
			return nil
		},
		"lines":   func(w io.Writer) error { Lines(w, evil); return nil },
		"page":    func(w io.Writer) error { Page{W: w, Names: 5}.Line("name", "%s", word(evil)); return nil },
		"wrapped": func(w io.Writer) error { Page{W: w, Names: 5}.Wrapped(evil); return nil },
		"table": func(w io.Writer) error {
			table := NewListing(w, false, "NAME", "VALUE")
			table.Row(word(evil), errors.New(evil))
			return table.Flush()
		},
		"json": func(w io.Writer) error {
			list := NewListing(w, true, "NAME", "VALUE")
			list.Row("not", "shown")
			list.Add(map[string]string{evil: evil})
			return list.Flush()
		},
	}
	for how, write := range shown {
		var out strings.Builder
		require.NoError(t, write(&out), how)
		for line := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\n"), "\n") {
			assert.False(t, strings.ContainsFunc(line, text.Hidden), "%s: %q", how, line)
		}
		if how != "lines" && how != "wrapped" && how != "table" {
			assert.Equal(t, 1, strings.Count(out.String(), "\n"), "%s: only a format breaks lines", how)
		}
	}
}

func TestJSONStaysTheSame(t *testing.T) {
	t.Parallel()
	value := map[string]string{"a\u202E": "<&> 触发 \u200B\x7f\U000E0041 \U0001F600 \\u202e"}
	var out strings.Builder
	require.NoError(t, JSONLines(&out).Encode(value))
	assert.Equal(t, `{"a\u202e":"<&> 触发 \u200b\u007f\udb40\udc41 😀 \\u202e"}`+"\n", out.String())
	var back map[string]string
	require.NoError(t, json.Unmarshal([]byte(out.String()), &back))
	assert.Equal(t, value, back)
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := NewListing(&out, false, "NAME", "N")
	require.NoError(t, table.Flush())
	assert.Empty(t, out.String(), "no heading without a row")
	table.Row("one", 1)
	table.Row("three hundred", 300)
	require.NoError(t, table.Flush())
	assert.Equal(t, "NAME           N\none            1\nthree hundred  300\n", out.String())
}

func TestProgressWithoutTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := NewProgress(&out, 30)
		for range 30 {
			<-time.After(time.Second)
			p.Add()
			p.Clear()
		}
		assert.Equal(t, "10 of 30 done\n20 of 30 done\n30 of 30 done\n", out.String())
	})
	assert.Equal(t, "██░░", Bar(.5, 4))
	assert.Equal(t, "████", Bar(7, 4))
}

func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &Progress{w: &out, all: 4, terminal: true, began: time.Now(), last: time.Now()}
		<-time.After(time.Second)
		p.Add()
		assert.Equal(t, "\r  "+Bar(.25, 30)+" 1 of 4, 1/s, 3s left\x1b[K", out.String())
		p.Add()
		p.Clear()
		assert.Equal(t, 1, strings.Count(out.String(), " of 4"), "not drawn more often than can be seen")
		assert.True(t, strings.HasSuffix(out.String(), "\r\x1b[K"))
	})
}

func TestGlossed(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"触发分钟级流控Permits:1":   "触发分钟级流控Permits:1 [Aliyun's limit: 1 a minute]",
		"触发小时级流控Permits:5":   "触发小时级流控Permits:5 [Aliyun's limit: 5 an hour]",
		"触发天级流控Permits:10":   "触发天级流控Permits:10 [Aliyun's limit: 10 a day]",
		"触发号码天级流控Permits:40": "触发号码天级流控Permits:40 [Aliyun's limit: 40 a day, over all signatures]",
		"触发日发送限额":            "触发日发送限额 [Aliyun's limit: a day]",
		"模板不合法(不存在或被拉黑)":     "模板不合法(不存在或被拉黑) [the template is not valid]",
		"used up":            "used up",
		"":                   "",
	} {
		assert.Equal(t, want, Glossed(message))
	}
}
