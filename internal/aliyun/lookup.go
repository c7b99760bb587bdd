package aliyun

import (
	"context"
	"net/http"
	"slices"
	"time"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// pageSize is the largest that QuerySendDetails allows.
	pageSize = 50
	// maxPages bounds one day of one phone. Aliyun allows a phone 40 messages a day.
	maxPages = 20
	// maxAge is how far back a look-up goes. Records and dead letters are kept for days.
	maxAge = 30 * 24 * time.Hour
	// midnightMargin is how near to midnight the neighbouring day is asked for too, since clocks differ.
	midnightMargin = 10 * time.Minute
	// sendStatusFailed is the only SendStatus of a message that did not arrive; 1 waits
	// for the carrier's report, 3 was delivered.
	sendStatusFailed = 2
)

// beijing is the zone of QuerySendDetails' days: UTC+8, without summer time.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// Lookup asks Aliyun what became of a request's attempts, the first of which was made at since. It reads every page
// of the phone's send details of each day (UTC+8) since then, and looks for the request id.
//
// If several attempts left a row, an accepted one outweighs an undelivered one. NotFound means that all rows were
// read; how soon after a send its row appears is not documented. An error is an [*answer.Failure].
func (s *Sender) Lookup(ctx context.Context, phone passcode.Phone, requestID string, since time.Time) (domain.Finding, error) {
	number, _, ok := numberFor(phone)
	if !ok {
		return domain.Finding{}, &answer.Failure{Class: passcode.ClassRecipient, Code: codePhoneInvalid}
	}
	if requestID == "" {
		// All rows of senders without an OutId would match.
		return domain.Finding{}, &answer.Failure{Class: passcode.ClassConfig, Code: "no_request_id"}
	}
	scrub := answer.NewScrubber(domain.Message{Phone: phone})
	found := domain.Finding{State: domain.NotFound}
	for _, day := range days(since, s.opts.Now()) {
		onDay, failure := s.lookupDay(ctx, number, requestID, day, scrub)
		if failure != nil {
			failure.Message = "" // it may quote a row, and so a passcode that the scrubber doesn't know
			return domain.Finding{}, failure
		}
		s.ObserveLookup()
		if onDay.State == domain.Accepted {
			return onDay, nil
		}
		if onDay.State == domain.Undelivered {
			found = onDay
		}
	}
	return found, nil
}

func days(since, now time.Time) (list []string) {
	const form = "20060102"
	if oldest := now.Add(-maxAge); since.Before(oldest) {
		since = oldest
	}
	last := now.Add(midnightMargin).In(beijing).Format(form)
	for at := since.Add(-midnightMargin).In(beijing); ; at = at.AddDate(0, 0, 1) {
		list = append(list, at.Format(form))
		if list[len(list)-1] >= last {
			return list
		}
	}
}

// detailsPage is what is used of a page of QuerySendDetails. Rows hold the whole text
// of a message, so nothing else of them may be kept.
type detailsPage struct {
	TotalCount *answer.Number
	Details    struct {
		Rows []*detailsRow `json:"SmsSendDetailDTO"`
	} `json:"SmsSendDetailDTOs"`
}

type detailsRow struct {
	OutID      string `json:"OutId"`
	SendStatus *answer.Number
	ErrCode    string
}

// plausible reports whether the page can be the service's: it decides whether a message is sent a second time.
func (p *detailsPage) plausible() bool {
	return p.TotalCount != nil && *p.TotalCount >= 0 && len(p.Details.Rows) <= pageSize &&
		!slices.ContainsFunc(p.Details.Rows, func(row *detailsRow) bool { return row == nil || row.SendStatus == nil })
}

func (s *Sender) lookupDay(ctx context.Context, phone, requestID, day string, scrub *answer.Scrubber) (domain.Finding, *answer.Failure) {
	const action = "QuerySendDetails"
	incomplete := &answer.Failure{Action: action, Class: passcode.ClassTransient, Code: "incomplete_pages", Answered: true}
	found := domain.Finding{State: domain.NotFound}
	read := answer.Number(0)
	for page := range maxPages {
		request := (&dysmsapi.QuerySendDetailsRequest{}).
			SetPhoneNumber(phone).SetSendDate(day).SetPageSize(pageSize).SetCurrentPage(int64(page + 1))
		var details detailsPage
		if failure := s.ask(ctx, scrub, action, &details, func(client *dysmsapi.Client) error {
			_, err := client.QuerySendDetailsWithOptions(request, &util.RuntimeOptions{})
			return err
		}); failure != nil {
			return domain.Finding{}, failure
		}
		if !details.plausible() {
			return domain.Finding{}, unreadable(action, http.StatusOK)
		}
		rows := details.Details.Rows
		if read += answer.Number(len(rows)); read > *details.TotalCount {
			return domain.Finding{}, incomplete
		}
		for _, row := range rows {
			if row.OutID != requestID {
				continue
			}
			if *row.SendStatus != sendStatusFailed {
				// A row is proof that Aliyun took the message, whatever its status.
				return domain.Finding{State: domain.Accepted}, nil
			}
			found = domain.Finding{State: domain.Undelivered, ErrorCode: scrub.Code(row.ErrCode)}
		}
		if read == *details.TotalCount {
			return found, nil
		}
		if len(rows) == 0 {
			return domain.Finding{}, incomplete
		}
	}
	return domain.Finding{}, &answer.Failure{Action: action, Class: passcode.ClassTransient, Code: "too_many_pages", Answered: true}
}
