package bench

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// drawing is what a plot says, and the points of its curves by their classes.
type drawing struct {
	texts  []string
	curves map[string][][2]float64
}

func read(t *testing.T, svg []byte) drawing {
	t.Helper()
	d := drawing{curves: map[string][][2]float64{}}
	for decoder := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return d
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				d.texts = append(d.texts, text)
			}
		case xml.StartElement:
			attributes := map[string]string{}
			for _, a := range token.Attr {
				attributes[a.Name.Local] = a.Value
				assert.NotContains(t, a.Name.Local, "href", "it needs no other file")
			}
			for _, point := range strings.Fields(attributes["points"]) {
				var x, y float64
				_, err := fmt.Sscanf(point, "%f,%f", &x, &y)
				require.NoError(t, err)
				d.curves[attributes["class"]] = append(d.curves[attributes["class"]], [2]float64{x, y})
			}
		}
	}
}

func TestPlot(t *testing.T) {
	t.Parallel()
	book := NewBook(Requests{})
	for i := range 100 { // receipts after 2 to 20 ms, results after 30 to 2000 ms
		book.Publishing(i, began)
		book.Announced(i, passcode.StatusSending, after(time.Duration(2+18*i/99)*time.Millisecond))
		book.Announced(i, passcode.StatusSent, after(time.Duration(30+1970*i/99)*time.Millisecond))
	}
	var out bytes.Buffer
	require.NoError(t, plot(&out, `100 jobs & 1 worker <b>"`, book))
	d := read(t, out.Bytes())
	all := strings.Join(d.texts, "\n")
	for _, want := range []string{
		"Latency of a job", `100 jobs & 1 worker <b>"`, "\n1ms\n2ms\n5ms\n10ms\n20ms\n50ms\n100ms\n200ms\n500ms\n1s\n2s\n5s\n10s\n", "0 %", "100 %", "share of the jobs", "time since",
		"receipt, a worker has claimed the job: p50 10ms, p90 18ms, p99 19ms, max 20ms",
		"result, the first final one: p50 1.01s, p90 1.8s, p99 1.98s, max 2s",
	} {
		assert.Contains(t, all, want)
	}
	require.Len(t, d.curves, 2)
	for class, points := range d.curves {
		require.Len(t, points, plotWidth+1)
		assert.Equal(t, [2]float64{0, plotHeight}, points[0], "no job took less than a millisecond")
		assert.Equal(t, [2]float64{plotWidth, 0}, points[plotWidth], "all took less than 10 seconds")
		for i := range points[1:] {
			assert.LessOrEqual(t, points[i+1][1], points[i][1], class)
		}
	}
	assert.Equal(t, [2]float64{160, plotHeight * (1 - .5)}, d.curves["receipt"][160], "half of them took up to 10 ms")
	assert.InDelta(t, plotHeight*.96, d.curves["result"][320][1], 1e-9, "of the results 4 % took up to 100 ms")
}

// TestPlotOfALongRun has labels that don't overlap.
func TestPlotOfALongRun(t *testing.T) {
	t.Parallel()
	book := NewBook(Requests{})
	for i, took := range []time.Duration{300 * time.Microsecond, 40 * time.Second} {
		book.Publishing(i, began)
		book.Announced(i, passcode.StatusSent, after(took))
	}
	var out bytes.Buffer
	require.NoError(t, plot(&out, "2 jobs", book))
	assert.Contains(t, strings.Join(read(t, out.Bytes()).texts, "\n"), "\n100µs\n1ms\n10ms\n100ms\n1s\n10s\n1m40s\n")
}

func TestPlotOfLittle(t *testing.T) {
	t.Parallel()
	book := NewBook(Requests{})
	require.ErrorContains(t, plot(io.Discard, "", book), "no job had a result")
	book.Publishing(0, began)
	book.Announced(0, passcode.StatusExpired, after(time.Millisecond)) // without a claim
	var out bytes.Buffer
	require.NoError(t, plot(&out, "1 job", book))
	d := read(t, out.Bytes())
	assert.Empty(t, d.curves["receipt"])
	assert.Contains(t, d.texts, "10ms", "an axis has a length")
	for _, point := range d.curves["result"] {
		assert.Zero(t, point[1])
	}
}
