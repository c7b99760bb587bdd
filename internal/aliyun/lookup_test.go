package aliyun

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

type detail struct {
	OutID      string `json:"OutId,omitempty"`
	SendStatus int64
	ErrCode    string
	Content    string
	PhoneNum   string
}

// detailsOf serves rows by day, in pages.
func detailsOf(days map[string][]detail) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		size, _ := strconv.Atoi(query.Get("PageSize"))
		page, _ := strconv.Atoi(query.Get("CurrentPage"))
		rows := days[query.Get("SendDate")]
		from := min((page-1)*size, len(rows))
		answerDetails(w, len(rows), rows[from:min(from+size, len(rows))])
	}
}

func answerDetails(w http.ResponseWriter, total any, rows []detail) {
	_ = json.NewEncoder(w).Encode(map[string]any{
		"Code": "OK", "Message": "OK", "RequestId": "r", "TotalCount": total,
		"SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": rows},
	})
}

func row(id string, status int64, errCode string) detail {
	return detail{OutID: id, SendStatus: status, ErrCode: errCode, PhoneNum: "13812345678", Content: "【x】493817"}
}

func rows(n int, last ...detail) []detail {
	var list []detail
	for i := range n {
		list = append(list, row(fmt.Sprintf("other-%d", i), 3, "DELIVERED"))
	}
	return append(list, last...)
}

func lookupAt(t *testing.T, answer http.HandlerFunc, now, attemptedAt time.Time) (domain.Finding, []*http.Request, error) {
	t.Helper()
	service := newService(t, answer)
	options := testOptions(service.URL)
	options.Now = func() time.Time { return now }
	finding, err := newTestSender(t, options).Lookup(t.Context(), passcode.NewPhone(testPhone), "req-1", attemptedAt)
	return finding, service.got(), err
}

// noon is noon in UTC+8.
var noon = time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)

func TestLookup(t *testing.T) {
	t.Parallel()
	const today, yesterday = "20261122", "20261121"
	for _, test := range []struct {
		name string
		days map[string][]detail
		want domain.Finding
	}{
		{"no rows", nil, domain.Finding{State: domain.NotFound}},
		{"rows of other requests", map[string][]detail{today: rows(3)}, domain.Finding{State: domain.NotFound}},
		{"waiting", map[string][]detail{today: {row("req-1", 1, "")}}, domain.Finding{State: domain.Accepted}},
		{"delivered", map[string][]detail{today: {row("req-1", 3, "DELIVERED")}}, domain.Finding{State: domain.Accepted}},
		{"failed", map[string][]detail{today: {row("req-1", 2, "MOBILE_IN_BLACK")}}, domain.Finding{State: domain.Undelivered, ErrorCode: "MOBILE_IN_BLACK"}},
		{"failed, then accepted", map[string][]detail{today: {row("req-1", 2, "NO_ROUTE"), row("req-1", 1, "")}}, domain.Finding{State: domain.Accepted}},
		{"accepted, then failed", map[string][]detail{today: {row("req-1", 3, ""), row("req-1", 2, "NO_ROUTE")}}, domain.Finding{State: domain.Accepted}},
		{"failed yesterday, accepted today", map[string][]detail{yesterday: {row("req-1", 2, "NO_ROUTE")}, today: {row("req-1", 1, "")}}, domain.Finding{State: domain.Accepted}},
		{"a status nobody knows", map[string][]detail{today: {row("req-1", 9, "")}}, domain.Finding{State: domain.Accepted}},
		{"on the third page", map[string][]detail{today: rows(120, row("req-1", 2, "IS_CLOSE"))}, domain.Finding{State: domain.Undelivered, ErrorCode: "IS_CLOSE"}},
		{"exactly two pages", map[string][]detail{today: rows(99, row("req-1", 1, ""))}, domain.Finding{State: domain.Accepted}},
		{"a report code that quotes the number", map[string][]detail{today: {row("req-1", 2, "X13812345678")}}, domain.Finding{State: domain.Undelivered, ErrorCode: "unreadable"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			finding, requests, err := lookupAt(t, detailsOf(test.days), noon, noon.Add(-24*time.Hour))
			require.NoError(t, err)
			assert.Equal(t, test.want, finding)
			for _, r := range requests {
				assert.Equal(t, "QuerySendDetails", r.Header.Get("X-Acs-Action"))
				assert.Equal(t, "13812345678", r.URL.Query().Get("PhoneNumber"))
				assert.Equal(t, "50", r.URL.Query().Get("PageSize"))
			}
		})
	}
}

func TestLookupAsksForTheDaysOfUTC8(t *testing.T) {
	t.Parallel()
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 22, hour, minute, 0, 0, beijing).UTC() }
	for _, test := range []struct {
		since, now time.Time
		want       []string
	}{
		{at(12, 0), at(12, 1), []string{"20261122"}},
		{at(0, 30), at(0, 31), []string{"20261122"}},
		{at(7, 59), at(8, 1), []string{"20261122"}}, // midnight in UTC is none
		{at(23, 59), at(24, 1), []string{"20261122", "20261123"}},
		{at(23, 55), at(23, 56), []string{"20261122", "20261123"}},
		{at(0, 5), at(0, 6), []string{"20261121", "20261122"}},
		{at(12, 0), at(36, 0), []string{"20261122", "20261123"}},
		{at(12, 0), at(60, 0), []string{"20261122", "20261123", "20261124"}},
		{at(23, 59), at(48, 1), []string{"20261122", "20261123", "20261124"}},
	} {
		assert.Equal(t, test.want, days(test.since, test.now))
		_, requests, err := lookupAt(t, detailsOf(nil), test.now, test.since)
		require.NoError(t, err)
		var asked []string
		for _, r := range requests {
			asked = append(asked, r.URL.Query().Get("SendDate"))
		}
		assert.Equal(t, test.want, asked)
	}
}

// TestLookupOfAThousandMalformedAnswers has more answers that can't be read.
func TestLookupThatCannotTellIsAnError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		answer   http.HandlerFunc
		class    passcode.Class
		code     string
		answered bool
	}{
		{"fewer rows than told", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("CurrentPage") == "1" {
				answerDetails(w, 60, rows(50))
			} else {
				answerDetails(w, 60, nil)
			}
		}, passcode.ClassTransient, "incomplete_pages", true},
		{"pages without end", func(w http.ResponseWriter, _ *http.Request) { answerDetails(w, 1_000_000, rows(50)) }, passcode.ClassTransient, "too_many_pages", true},
		{"no total", body(200, `{"Code":"OK"}`), passcode.ClassTransient, "unreadable_answer", false},
		{"OK with an error status", body(500, `{"Code":"OK","TotalCount":0}`), passcode.ClassTransient, "unreadable_answer", false},
		{"more rows than told", func(w http.ResponseWriter, _ *http.Request) { answerDetails(w, 0, rows(2)) }, passcode.ClassTransient, "incomplete_pages", true},
		{"more rows than asked for", func(w http.ResponseWriter, _ *http.Request) { answerDetails(w, 51, rows(51)) }, passcode.ClassTransient, "unreadable_answer", false},
		{"502 with HTML", body(502, "<html>"), passcode.ClassTransient, "unreadable_answer", false},
		{"internal error", code(500, "InternalError", "x"), passcode.ClassTransient, "InternalError", true},
		{"throttled", code(400, "Throttling.User", "x"), passcode.ClassThrottled, "Throttling.User", true},
		{"not allowed", code(403, "isp.RAM_PERMISSION_DENY", "x"), passcode.ClassAccount, "isp.RAM_PERMISSION_DENY", true},
		{"code with the number", code(400, "X13812345678", "x"), passcode.ClassConfig, "unreadable", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			finding, requests, err := lookupAt(t, test.answer, noon, noon)
			var lookup *answer.Failure
			require.ErrorAs(t, err, &lookup)
			assert.Equal(t, answer.Failure{Action: "QuerySendDetails", Class: test.class, Code: test.code, Answered: test.answered}, *lookup)
			assert.Zero(t, finding)
			assert.LessOrEqual(t, len(requests), maxPages)
			assertNoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)))
		})
	}
}

func TestLookupRefusesWhatMatchesTooMuch(t *testing.T) {
	t.Parallel()
	s := newTestSender(t, testOptions("127.0.0.1:1"))
	_, err := s.Lookup(t.Context(), passcode.NewPhone(testPhone), "", noon)
	require.Error(t, err)
	_, err = s.Lookup(t.Context(), passcode.NewPhone("13812345678,13900000000"), "req-1", noon)
	require.Error(t, err)
	assertNoSecret(t, err.Error())
}
