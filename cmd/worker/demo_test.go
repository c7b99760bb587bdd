package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestLeaksIn: a search that finds by chance what nobody leaked fails a sound demo,
// and one that finds nothing passes a leaking one.
func TestLeaksIn(t *testing.T) {
	t.Parallel()
	const national = "138" + "00138001"
	for _, leak := range []string{
		demoCode, "+86" + national, "86" + national, "0086" + national, national, "139" + "00000000",
		"%2B86" + national, `\u002b86` + national, `\n` + national,
	} {
		for _, line := range []string{`{"msg":"` + leak + `"}`, "to " + leak, leak + " sent", "phone=" + leak + "\nnext"} {
			assert.Equal(t, 1, leaksIn([]byte(line)), strings.ReplaceAll(line, national, "****"))
		}
	}
	assert.NotEmpty(t, strings.Trim(demoCode, "0123456789abcdefABCDEF"), "no time, receipt or id in hex can hold it")
	for _, line := range []string{
		"", `{"phone":"+86138****8001","biz_id":"179543513800138001^0"}`, "138001380012", "860138" + "00138001",
		`{"provider_request_id":"B39CB1F7-6C2E-4F0A-9D1E-138` + `00138001A"}`, `9D1E-A138` + `00138001"`,
	} {
		assert.Zero(t, leaksIn([]byte(line)), line)
	}
}
