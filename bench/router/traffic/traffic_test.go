package traffic

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBody_isAChatOfItsSize(t *testing.T) {
	for _, size := range Sizes() {
		tag := Tag{Answer: answer("json"), Size: size, Variant: 7}
		b := Body(tag)
		require.InDelta(t, size.Bytes, len(b), 0.02*float64(size.Bytes)+1, size.Name)
		var got struct {
			User     string
			Messages []struct{ Role, Content string }
		}
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, tag.String(), got.User)
		require.NotEmpty(t, got.Messages)
		other := Body(Tag{Answer: tag.Answer, Size: size, Variant: 8})
		require.NotEqual(t, string(b), string(other))
	}
}

func TestTag_comesBack(t *testing.T) {
	for _, a := range Answers() {
		tag := Tag{Answer: a, Size: Sizes()[1], Variant: 31}
		got, err := ParseTag(tag.String())
		require.NoError(t, err)
		require.Equal(t, tag, got)
	}
	for _, bad := range []string{"", "json", "json/200B/32", "json/200B/-1", "json/1KiB/0", "x/200B/0", "json/200B/0/0"} {
		_, err := ParseTag(bad)
		require.Error(t, err, bad)
	}
}

func TestSelect_findsWhatCellsNames(t *testing.T) {
	var names []string
	for _, c := range Cells() {
		names = append(names, c.Name())
	}
	got, err := Select(names)
	require.NoError(t, err)
	require.Equal(t, Cells(), got)
	_, err = Select(Quick())
	require.NoError(t, err)
	for _, bad := range []string{"", "200B", "200B-c0", "1MiB-c1", "sse-cx", "sse-c1000000"} {
		_, err := Select([]string{bad})
		require.Error(t, err, bad)
	}
}
