package once

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStates(t *testing.T) {
	t.Parallel()
	var s States
	for _, step := range []struct {
		thing, state string
		news         bool
	}{
		{"link", "", false}, {"link", "down", true}, {"link", "down", false}, {"link", "refused", true},
		{"disk", "full", true}, {"link", "", true}, {"link", "", false}, {"disk", "full", false},
	} {
		assert.Equal(t, step.news, s.Changed(step.thing, step.state), "%+v", step)
		assert.Equal(t, step.state, s.Last(step.thing))
	}
	s.Forget()
	assert.Empty(t, s.Last("disk"))
	assert.True(t, s.Changed("disk", "full"))
}

func TestStatesAreBounded(t *testing.T) {
	t.Parallel()
	var s States
	news := 0
	for i := range 10 * most {
		if s.Changed(strconv.Itoa(i), "denied") {
			news++
		}
	}
	assert.Equal(t, most, news)
	assert.True(t, s.Changed("0", "allowed"), "what is known goes on")
}
