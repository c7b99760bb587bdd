package telemetry

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := Bounded(NewLogger(&out, "info", "json")).With("worker", "w1")
		for i := range 1000 {
			log.WithGroup("g").Warn("broker away", "job", i, "error", errors.New("no answer"))
		}
		log.Error("something else")
		for range 100 {
			log.Info("request sent")
		}
		text := out.String()
		assert.Equal(t, sameLines, strings.Count(text, "broker away"), "whatever job it is about")
		assert.Equal(t, 1, strings.Count(text, "something else"))
		assert.Equal(t, 100, strings.Count(text, "request sent"), "what is no trouble is not left out")
		assert.Equal(t, 1, strings.Count(text, "left out for a while"))
		assert.Equal(t, strings.Count(text, "\n"), strings.Count(text, `"worker":"w1"`))

		out.Reset()
		<-time.After(sameLinesEvery)
		log.Warn("broker away")
		log.Warn("broker away")
		assert.Equal(t, 1, strings.Count(out.String(), "broker away"))
		assert.Contains(t, out.String(), `"left_out":968`)
		<-time.After(24 * time.Hour)
		out.Reset()
		for range 2 * sameLines {
			log.Warn("broker away")
		}
		assert.Equal(t, sameLines, strings.Count(out.String(), "broker away"), "another trouble is told as the first was")
	})
}

func TestDebugLogIsNotBounded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := Bounded(NewLogger(&out, "debug", "text"))
	for range 1000 {
		log.Warn("broker away")
	}
	assert.Equal(t, 1000, strings.Count(out.String(), "broker away"))
}
