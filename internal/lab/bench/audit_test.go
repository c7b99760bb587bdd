package bench

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	r := Requests{Run: "t3st"}
	sent, expired, unknown := passcode.StatusSent, passcode.StatusExpired, passcode.StatusUnknown
	rows := []struct {
		name     string
		ends     []passcode.Status // of the jobs from 0 on; "" is not final
		accepted []string
		want     Audit
	}{
		{"nothing", nil, nil, Audit{}},
		{"each sent once", []passcode.Status{sent, sent}, []string{r.ID(1), r.ID(0)}, Audit{Accepted: 2}},
		{"expired, and not accepted", []passcode.Status{expired}, nil, Audit{}},
		{"sent twice", []passcode.Status{sent}, []string{r.ID(0), r.ID(0), r.ID(0)}, Audit{Accepted: 3, Doubled: 2}},
		{"no end", []passcode.Status{sent, ""}, []string{r.ID(0)}, Audit{Accepted: 1, Lost: 1}},
		{"no end, but accepted", []passcode.Status{""}, []string{r.ID(0)}, Audit{Accepted: 1, Lost: 1}},
		{"sent, says the worker alone", []passcode.Status{sent, sent}, []string{r.ID(0)}, Audit{Accepted: 1, NotAccepted: 1}},
		{"expired, says the worker alone", []passcode.Status{expired}, []string{r.ID(0)}, Audit{Accepted: 1, Denied: 1}},
		{"unknown may be either", []passcode.Status{unknown, unknown}, []string{r.ID(0)}, Audit{Accepted: 1}},
		{"somebody else's", nil, []string{"other"}, Audit{Accepted: 1, Strange: 1}},
		{"a job that was never published", nil, []string{r.ID(70)}, Audit{Accepted: 1, Strange: 1}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := NewBook(began)
			for i, status := range row.ends {
				b.Publishing(i, began)
				if status != "" {
					b.Ended(i, status, began)
				}
			}
			a := NewAuditor(r)
			for _, id := range row.accepted {
				a.Add(id)
			}
			assert.Equal(t, len(row.accepted), a.Accepted())
			got := a.Close(b)
			assert.Equal(t, row.want, got)
			assert.Equal(t, got == Audit{Accepted: got.Accepted}, got.Clean())
		})
	}
}
