package bench

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/template"
	"time"
)

// plotWidth and plotHeight are those of the field between the axes of plot.svg.tmpl.
const plotWidth, plotHeight = 640, 300

//go:embed plot.svg.tmpl
var plotText string

var plotTemplate = template.Must(template.New("plot").Parse(plotText))

// curve tells for each time what share of the jobs did not take longer.
type curve struct{ Points, Text string }

// plot draws how long the jobs of a run took to their receipts and to their results.
func plot(w io.Writer, subtitle string, book *Book) error {
	book.mu.Lock()
	receipts, results := slices.Sorted(slices.Values(book.receipts)), slices.Sorted(slices.Values(book.results))
	book.mu.Unlock()
	all := slices.Concat(receipts, results)
	if len(all) == 0 {
		return errors.New("--plot: no job had a result")
	}
	// Whole powers of ten, as exponents of nanoseconds.
	first := math.Floor(math.Log10(float64(max(slices.Min(all), 1))))
	decades := max(math.Ceil(math.Log10(float64(slices.Max(all))))-first, 1)
	x, y := map[float64]string{}, map[float64]string{} // the ticks by their places
	for n := range 3*int(decades) + 1 {
		if digit := []float64{1, 2, 5}[n%3]; digit == 1 || decades <= 4 { // the labels of more would overlap
			t := digit * math.Pow10(int(first)+n/3)
			x[plotWidth*(math.Log10(t)-first)/decades] = time.Duration(t).String()
		}
	}
	for _, percent := range []float64{0, 25, 50, 75, 90, 100} {
		y[plotHeight-plotHeight*percent/100] = whole(percent) + " %"
	}
	draw := func(took []time.Duration) curve {
		var points strings.Builder
		for at := 0; at <= plotWidth && len(took) > 0; at++ {
			n, _ := slices.BinarySearch(took, 1+time.Duration(math.Pow(10, first+decades*float64(at)/plotWidth)))
			fmt.Fprintf(&points, "%d,%.1f ", at, plotHeight-plotHeight*float64(n)/float64(len(took)))
		}
		l := latency(took)
		return curve{points.String(), fmt.Sprintf("%s, max %s", l, l.Max)}
	}
	return plotTemplate.Execute(w, map[string]any{"Subtitle": subtitle, "X": x, "Y": y, "Receipt": draw(receipts), "Result": draw(results)})
}
