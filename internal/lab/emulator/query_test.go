package emulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

func TestQuerySendDetails(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	mustSend(t, e, "OutId", "req-1")
	mustSend(t, e, "OutId", "other", "PhoneNumbers", "13900000000")

	got := do(t, e, gateway.ActionQuerySendDetails, looking())
	require.Equal(t, "OK", got.Code)
	assert.Equal(t, 1, got.TotalCount)
	assert.Equal(t, []detail{{
		PhoneNum: "13812345678", SendStatus: 3, ErrCode: "DELIVERED", TemplateCode: "SMS_1",
		Content: "【阿里云】您的验证码为123456,请勿泄露于他人!", SendDate: "2026-11-22 12:30:00",
		ReceiveDate: "2026-11-22 12:30:00", OutID: "req-1",
	}}, got.SmsSendDetailDTOs.SmsSendDetailDTO)

	none := do(t, e, gateway.ActionQuerySendDetails, looking("PhoneNumber", "13700000000"))
	assert.Equal(t, "OK", none.Code)
	assert.Equal(t, 0, none.TotalCount)
	assert.Empty(t, none.SmsSendDetailDTOs.SmsSendDetailDTO)

	biz := mustSend(t, e, "OutId", "b").BizID
	byID := do(t, e, gateway.ActionQuerySendDetails, looking("BizId", biz))
	require.Equal(t, 1, byID.TotalCount)
	assert.Equal(t, "b", byID.SmsSendDetailDTOs.SmsSendDetailDTO[0].OutID)
}

// TestLookupFindsEveryWayOfWriting: sent with 86 or without, asked with it or
// without.
func TestLookupFindsEveryWayOfWriting(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	for _, phone := range []string{"13812345678", "8613812345678", "+8613812345678"} {
		mustSend(t, e, "PhoneNumbers", phone)
	}
	for _, phone := range []string{"13812345678", "8613812345678"} {
		got := do(t, e, gateway.ActionQuerySendDetails, looking("PhoneNumber", phone))
		assert.Equal(t, 3, got.TotalCount, phone)
	}
}

func TestLookupChecksParameters(t *testing.T) {
	t.Parallel()
	rows := []struct{ name, value, code string }{
		{"PhoneNumber", "-", "MissingPhoneNumber"},
		{"SendDate", "-", "MissingSendDate"},
		{"PageSize", "-", "MissingPageSize"},
		{"CurrentPage", "-", "MissingCurrentPage"},
		{"PhoneNumber", "138", codeNumberIllegal},
		{"PhoneNumber", "13812345678,13912345678", codeNumberIllegal},
		{"SendDate", "2026-11-22", codeInvalid},
		{"SendDate", "20261332", codeInvalid},
		{"PageSize", "0", codeInvalid},
		{"PageSize", "51", codeInvalid},
		{"PageSize", "ten", codeInvalid},
		{"CurrentPage", "0", codeInvalid},
		{"CurrentPage", "-1", codeInvalid},
		{"PageSize", "50", "OK"},
		{"PageSize", "1", "OK"},
		{"CurrentPage", "9223372036854775807", "OK"},
	}
	e, _ := newTest(t, Options{})
	for _, row := range rows {
		got := do(t, e, gateway.ActionQuerySendDetails, looking(row.name, row.value))
		assert.Equal(t, row.code, got.Code, "%s=%s", row.name, row.value)
	}
}

func TestLookupPagesNewestFirst(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{})
	for i := range 7 {
		mustSend(t, e, "OutId", strconv.Itoa(i))
		c.Move(time.Second)
	}
	var pages []string
	for page := 1; page <= 4; page++ {
		got := do(t, e, gateway.ActionQuerySendDetails, looking("PageSize", "3", "CurrentPage", strconv.Itoa(page)))
		assert.Equal(t, 7, got.TotalCount)
		text := ""
		for _, row := range got.SmsSendDetailDTOs.SmsSendDetailDTO {
			text += row.OutID
		}
		pages = append(pages, text)
	}
	assert.Equal(t, []string{"654", "321", "0", ""}, pages)
}

// TestLookupDayIsTheServices: the day begins at 16:00 UTC.
func TestLookupDayIsTheServices(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{})
	count := func(date string) int {
		return do(t, e, gateway.ActionQuerySendDetails, looking("SendDate", date)).TotalCount
	}
	c.Set(time.Date(2026, 11, 22, 15, 59, 59, 0, time.UTC))
	mustSend(t, e)
	c.Set(time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC))
	mustSend(t, e)
	mustSend(t, e)
	assert.Equal(t, []int{0, 1, 2}, []int{count("20261121"), count("20261122"), count("20261123")})
}

func TestLookupLag(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{LookupLag: 10 * time.Second})
	mustSend(t, e)
	c.Move(10*time.Second - 1)
	assert.Zero(t, do(t, e, gateway.ActionQuerySendDetails, looking()).TotalCount)
	c.Move(1)
	assert.Equal(t, 1, do(t, e, gateway.ActionQuerySendDetails, looking()).TotalCount)
}

// TestApprovals asks in the older and in the newer way, which answers texts for a
// template.
func TestApprovals(t *testing.T) {
	t.Parallel()
	open, _ := newTest(t, Options{})
	listed, _ := newTest(t, Options{SignNames: []string{"阿里云"}, Templates: []string{"SMS_1:code"}})
	for _, row := range []struct {
		e        *Emulator
		sign     string
		template string
		status   int
	}{
		{open, "any", "any", 1},
		{listed, "阿里云", "SMS_1", 1},
		{listed, "other", "other", 2},
	} {
		sign, template := map[string]string{"SignName": row.sign}, map[string]string{"TemplateCode": row.template}
		for _, action := range []string{"QuerySmsSign", "GetSmsSign"} {
			assert.InDelta(t, row.status, do(t, row.e, action, sign).SignStatus, 0)
		}
		got := do(t, row.e, "QuerySmsTemplate", template)
		assert.InDelta(t, row.status, got.TemplateStatus, 0)
		assert.InDelta(t, 0, got.TemplateType, 0)
		got = do(t, row.e, "GetSmsTemplate", template)
		assert.Equal(t, strconv.Itoa(row.status), got.TemplateStatus)
		assert.Equal(t, "0", got.TemplateType)
	}
	for action, want := range map[string]string{
		"QuerySmsSign": "MissingSignName", "GetSmsSign": "MissingSignName",
		"QuerySmsTemplate": "MissingTemplateCode", "GetSmsTemplate": "MissingTemplateCode",
	} {
		assert.Equal(t, want, do(t, open, action, nil).Code, action)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{
		SignNames: []string{"阿里云", "Shop", "Bank"}, Templates: []string{"SMS_2=notification", "SMS_1", "SMS_3=international"},
	})
	type row struct {
		SignName, TemplateCode, AuditStatus string
		OuterTemplateType, TemplateType     int
	}
	ask := func(action, page string) (names []string, rows []row, total int) {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, signed(e, action, map[string]string{"PageIndex": page, "PageSize": "2"}))
		var got struct {
			TotalCount                   int
			SmsSignList, SmsTemplateList []row
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		rows = append(got.SmsSignList, got.SmsTemplateList...)
		for _, r := range rows {
			names = append(names, r.SignName+r.TemplateCode)
			assert.Equal(t, "AUDIT_STATE_PASS", r.AuditStatus)
		}
		return names, rows, got.TotalCount
	}
	first, _, total := ask("QuerySmsSignList", "1")
	assert.Equal(t, []string{"阿里云", "Shop"}, first)
	assert.Equal(t, 3, total)
	second, _, _ := ask("QuerySmsSignList", "2")
	assert.Equal(t, []string{"Bank"}, second)
	third, _, _ := ask("QuerySmsSignList", "9223372036854775807")
	assert.Empty(t, third)

	codes, rows, total := ask("QuerySmsTemplateList", "")
	assert.Equal(t, []string{"SMS_1", "SMS_2"}, codes)
	assert.Equal(t, 3, total)
	assert.Equal(t, []int{0, 2, 1, 0}, []int{
		rows[0].OuterTemplateType, rows[0].TemplateType, rows[1].OuterTemplateType, rows[1].TemplateType,
	}, "the list numbers types in two ways")
	for _, bad := range []map[string]string{{"PageIndex": "0"}, {"PageIndex": "x"}, {"PageSize": "51"}, {"PageSize": "-1"}} {
		assert.Equal(t, codeInvalid, do(t, e, "QuerySmsSignList", bad).Code)
	}
}

func TestFilings(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Filings: []string{"unicom=-2:UNBINDING_QUA", "telecom=1"}})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, signed(e, "GetSmsSign", map[string]string{"SignName": "阿里云"}))
	var got struct{ SignIspRegisterDetailList json.RawMessage }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	detail := `{"OperatorCode":%q,"OperatorCompleteTime":"2017-05-25 00:00:00","RegisterStatus":%d,"RegisterStatusReasons":%s}`
	assert.JSONEq(t, fmt.Sprintf("["+detail+","+detail+","+detail+"]", "mobile", 3, "[]",
		"unicom", -2, `[{"ReasonCode":"UNBINDING_QUA"}]`, "telecom", 1, "[]"), string(got.SignIspRegisterDetailList))
	for _, spec := range []string{"", "unicom", "unicom=4", "unicom=-3", "other=3", "unicom=0:", "unicom=0:a b"} {
		_, err := New(Options{Filings: []string{spec}})
		require.ErrorContains(t, err, "filing: must be CARRIER=STATUS", spec)
	}
}

func TestTemplatesHaveAKindAndVariables(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Templates: []string{
		"SMS_1", "SMS_2=notification", "SMS_3:code:product=promotion", "SMS_4:n=international", "SMS_5:code=verification",
	}})
	for code, want := range map[string]struct {
		kind int
		text string
	}{
		"SMS_1": {0, "${code}"},
		"SMS_2": {1, "${code}"},
		"SMS_3": {2, "${code}${product}"},
		"SMS_4": {3, "${n}"},
		"SMS_5": {0, "${code}"},
	} {
		got := do(t, e, "QuerySmsTemplate", map[string]string{"TemplateCode": code})
		require.Equal(t, "OK", got.Code)
		assert.InDelta(t, 1, got.TemplateStatus, 0, code)
		assert.InDelta(t, want.kind, got.TemplateType, 0, code)
		assert.Equal(t, "您的验证码为"+want.text+",请勿泄露于他人!", got.TemplateContent, code)
	}
}

func TestWrongTemplatesAreRefused(t *testing.T) {
	t.Parallel()
	for spec, rule := range map[string]string{
		"":                        "must be CODE",
		"=notification":           "must be CODE",
		"SMS_1:":                  "must be CODE",
		"SMS_1::code":             "must be CODE",
		"SMS_1=":                  "must be one of verification, notification, promotion, international",
		"SMS_1=dance":             "must be one of",
		"SMS_1=notification:code": "must be one of",
	} {
		_, err := New(Options{Templates: []string{spec}})
		require.ErrorContains(t, err, "template: ", spec)
		require.ErrorContains(t, err, rule, spec)
	}
}

// TestTheDateIsTheClocks: of every answer, a refusal of the signature's time
// included.
func TestTheDateIsTheClocks(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{})
	late := signed(e, "QuerySmsSign", map[string]string{"SignName": "x"})
	c.Move(20 * time.Minute)
	for _, r := range []*http.Request{late, httptest.NewRequest(http.MethodGet, "http://dysmsapi.test/", nil)} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		assert.Equal(t, "Sun, 22 Nov 2026 04:50:00 GMT", w.Header().Get("Date"))
		assert.NotEqual(t, http.StatusOK, w.Code)
	}
}
