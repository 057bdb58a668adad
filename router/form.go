package router

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"strings"
)

// form is a multipart form that was read and written again.
type form struct {
	body        []byte
	contentType string
	model       string
}

const (
	// maxFormParts bounds the parts of a form; vLLM's have some thirty.
	maxFormParts = 256
	// maxFormValue bounds a part that is read for its value.
	maxFormValue = 1 << 10
)

// readForm reads a form and writes it anew, with a boundary of its own. vLLM's
// reader and ours could disagree on where the parts of a crafted form begin; of
// this one nobody outside knows the boundary, so there is only one way to read
// it. Fields that steer transfers between instances are refused.
func readForm(raw []byte, boundary string) (form, error) {
	var out bytes.Buffer
	out.Grow(len(raw) + 1024)
	to := multipart.NewWriter(&out)
	f := form{contentType: to.FormDataContentType()}
	from := multipart.NewReader(bytes.NewReader(raw), boundary)
	for n := 0; ; n++ {
		part, err := from.NextRawPart()
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			return form{}, errors.New("it has no parts")
		case errors.Is(err, io.EOF):
			err = to.Close()
			f.body = out.Bytes()
			return f, err
		case err != nil:
			return form{}, err
		case n == maxFormParts:
			return form{}, fmt.Errorf("more than %d parts", maxFormParts)
		}
		name := part.FormName()
		if err := checkField(name); err != nil {
			return form{}, err
		}
		w, err := to.CreatePart(partHeader(name, part))
		if err != nil {
			return form{}, err
		}
		if name == "model" {
			value, err := io.ReadAll(io.LimitReader(part, maxFormValue+1))
			if err != nil || len(value) > maxFormValue {
				return form{}, fmt.Errorf("model is longer than %d bytes, or ends too early", maxFormValue)
			}
			f.model = string(value)
			_, _ = w.Write(value) // into memory
			continue
		}
		if _, err := io.Copy(w, part); err != nil {
			return form{}, err
		}
	}
}

// checkField refuses names that are none of vLLM's, and those that would carry
// transfer parameters to the engine.
func checkField(name string) error {
	if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_[].-") != "" {
		return errors.New("a part has no plain name")
	}
	for _, steers := range []string{"xargs", "transfer_params"} {
		if strings.Contains(strings.ToLower(name), steers) {
			return fmt.Errorf("%s is not taken from clients", name)
		}
	}
	return nil
}

// partHeader is what of a part's header is written again.
func partHeader(name string, part *multipart.Part) textproto.MIMEHeader {
	h := textproto.MIMEHeader{}
	disposition := fmt.Sprintf(`form-data; name="%s"`, name)
	if file := part.FileName(); file != "" {
		plain := strings.Map(func(r rune) rune {
			if r < ' ' || r == '"' || r == '\\' || r == 0x7f {
				return '_'
			}
			return r
		}, file)
		disposition += fmt.Sprintf(`; filename="%s"`, plain)
	}
	h.Set("Content-Disposition", disposition)
	if kind := part.Header.Get("Content-Type"); kind != "" {
		h.Set("Content-Type", kind)
	}
	return h
}
