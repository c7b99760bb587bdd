package aliyun

import (
	"context"
	"fmt"
	"strconv"
	"time"

	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// pageSize is the largest that QuerySendDetails allows.
	pageSize = 50
	// maxPages bounds one day of one phone. Aliyun lets a phone have 40 messages
	// a day over all senders, so even the second page is unheard of.
	maxPages = 20
	// midnightMargin is how near to midnight the neighbouring day is asked for
	// too: our clock and Aliyun's are not the same.
	midnightMargin = 10 * time.Minute
)

// beijing is the zone of QuerySendDetails' days: UTC+8, without summer time.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// Values of a row's SendStatus.
const sendStatusFailed = 2 // 1 is waiting for the carrier's report, 3 delivered

// LookupError says why a look-up could not tell.
type LookupError struct {
	// Class is transient, throttled, account or config (or, of a service that
	// answers strangely, any other but ok and in_doubt).
	Class passcode.Class
	// Code is Aliyun's, or a word of ours.
	Code string
}

// Error names class and code, and nothing of the message.
func (e *LookupError) Error() string { return fmt.Sprintf("look up: %s (%s)", e.Code, e.Class) }

// Lookup asks Aliyun what became of the attempts of a request, the last of which
// was made at attemptedAt. It reads every page of the send details of the phone,
// of the day of the attempt and of today (UTC+8), and looks for the request id.
//
// Where several attempts left a row, one that was accepted outweighs one that
// could not be delivered. NotFound is no error; it means that all rows were read.
// How soon after a send its row appears is not documented. An error is a
// [*LookupError].
func (s *Sender) Lookup(ctx context.Context, phone passcode.Phone, requestID string, attemptedAt time.Time) (domain.Finding, error) {
	number, _, ok := numberFor(phone)
	if !ok {
		return domain.Finding{}, &LookupError{Class: passcode.ClassRecipient, Code: "phone_invalid"}
	}
	if requestID == "" {
		// Rows of senders without an OutId would all match.
		return domain.Finding{}, &LookupError{Class: passcode.ClassConfig, Code: "no_request_id"}
	}
	scrub := newScrubber(domain.Message{Phone: phone})
	found := domain.Finding{State: domain.NotFound}
	for _, day := range days(attemptedAt, s.opts.Now()) {
		onDay, err := s.lookupDay(ctx, number, requestID, day, scrub)
		if err != nil {
			return domain.Finding{}, err
		}
		switch onDay.State {
		case domain.Accepted:
			return onDay, nil
		case domain.Undelivered:
			found = onDay
		case domain.NotFound:
		}
	}
	return found, nil
}

// days lists the days to ask for, each once, the attempt's first.
func days(attemptedAt, now time.Time) []string {
	var list []string
	seen := map[string]bool{}
	for _, t := range []time.Time{attemptedAt, now} {
		for _, shift := range []time.Duration{0, -midnightMargin, midnightMargin} {
			day := t.Add(shift).In(beijing).Format("20060102")
			if !seen[day] {
				seen[day] = true
				list = append(list, day)
			}
		}
	}
	return list
}

func (s *Sender) lookupDay(ctx context.Context, number, requestID, day string, scrub *scrubber) (domain.Finding, error) {
	found := domain.Finding{State: domain.NotFound}
	read := 0
	for page := int64(1); page <= maxPages; page++ {
		body, err := s.details(ctx, number, day, page, scrub)
		if err != nil {
			return domain.Finding{}, err
		}
		total, err := strconv.Atoi(value(body.TotalCount))
		if err != nil || total < 0 {
			return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: codeUnreadable}
		}
		var rows []*dysmsapi.QuerySendDetailsResponseBodySmsSendDetailDTOsSmsSendDetailDTO
		if body.SmsSendDetailDTOs != nil {
			rows = body.SmsSendDetailDTOs.SmsSendDetailDTO
		}
		for _, row := range rows {
			if row == nil || value(row.OutId) != requestID {
				continue
			}
			if row.SendStatus == nil || *row.SendStatus != sendStatusFailed {
				// A row is proof that Aliyun took the message, whatever its status.
				return domain.Finding{State: domain.Accepted}, nil
			}
			found = domain.Finding{State: domain.Undelivered, ErrorCode: scrub.code(value(row.ErrCode))}
		}
		read += len(rows)
		if read >= total {
			return found, nil
		}
		if len(rows) == 0 {
			return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: "incomplete_pages"}
		}
	}
	return domain.Finding{}, &LookupError{Class: passcode.ClassTransient, Code: "too_many_pages"}
}

// details reads one page. The rows hold the whole text of each message, so no
// part of the answer goes anywhere else.
func (s *Sender) details(ctx context.Context, number, day string, page int64, scrub *scrubber) (*dysmsapi.QuerySendDetailsResponseBody, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.Timeout, errCallTimeout)
	defer cancel()
	request := (&dysmsapi.QuerySendDetailsRequest{}).
		SetPhoneNumber(number).SetSendDate(day).SetPageSize(pageSize).SetCurrentPage(page)
	var response *dysmsapi.QuerySendDetailsResponse
	x, err := s.call(ctx, time.Time{}, func(client *dysmsapi.Client) (err error) {
		response, err = client.QuerySendDetailsWithOptions(request, &util.RuntimeOptions{})
		return err
	})
	if err != nil {
		fault := keysFault(ctx, err)
		return nil, &LookupError{Class: fault.Class, Code: fault.Code}
	}
	if !x.answered() {
		fault := faultOf(ctx, x)
		return nil, lookupError(fault.Class, fault.Code)
	}
	if class := classOf(x.envelope.Code); class != passcode.ClassOK {
		return nil, lookupError(class, scrub.code(x.envelope.Code))
	}
	if x.sdkErr != nil || response == nil || response.Body == nil || value(response.Body.Code) != "OK" {
		return nil, lookupError(passcode.ClassTransient, codeUnreadable)
	}
	return response.Body, nil
}

// lookupError takes the doubt out of a class: to ask twice does no harm.
func lookupError(class passcode.Class, code string) error {
	if class == passcode.ClassInDoubt {
		class = passcode.ClassTransient
	}
	return &LookupError{Class: class, Code: code}
}
