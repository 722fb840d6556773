// SPDX-License-Identifier: GPL-2.0-or-later
#include <cinttypes>
#include <cstring>

#include "metafmt/bitmap_layout.h"
#include "metafmt/dump_text.h"

namespace drbd::metafmt {
namespace {

constexpr size_t kTokenSize = 40;     // longest keyword, number or string, and more
constexpr unsigned kStringMax = 20;
constexpr unsigned kDigitsMax = 19;

enum class TokenKind { End, Punctuation, Number, Hex32, Hex64, String, Word };

struct Token {
    TokenKind kind = TokenKind::End;
    uint64_t number = 0;
    char text[kTokenSize] = "";
    bool is(const char* word) const {
        return (kind == TokenKind::Word || kind == TokenKind::Punctuation) && std::strcmp(text, word) == 0;
    }
};

bool is_space(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(int c) { return c >= '0' && c <= '9'; }
bool is_word(int c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'; }
bool is_punctuation(int c) { return c == '{' || c == '}' || c == ';' || c == '[' || c == ']'; }

int hex_value(int c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

class Lexer {
  public:
    explicit Lexer(TextSource& source) : source_(source) {}

    Result<Token> next();
    unsigned line() const { return token_line_; }

    [[gnu::format(printf, 2, 3)]] Error error(const char* format, ...) const {
        char text[160];
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        return Error::of(ErrorCode::Invalid, "line %u: %s", token_line_, text);
    }

  private:
    static constexpr int kEnd = -1;

    Result<void> advance();  // sets current_
    Result<void> skip_blanks();
    Result<void> read_string(Token& token);
    Result<void> read_word(Token& token);
    Result<void> classify(Token& token) const;

    TextSource& source_;
    char buffer_[4096];
    size_t begin_ = 0;
    size_t end_ = 0;
    int current_ = kEnd;
    bool started_ = false;
    unsigned line_ = 1;
    unsigned token_line_ = 1;
};

Result<void> Lexer::advance() {
    if (started_ && current_ == '\n')
        line_++;
    started_ = true;
    if (begin_ == end_) {
        auto got = source_.read(std::span<char>(buffer_));
        if (!got)
            return got.error();
        DRBD_ASSERT(got.value() <= sizeof buffer_);
        begin_ = 0;
        end_ = got.value();
    }
    current_ = begin_ == end_ ? kEnd : static_cast<unsigned char>(buffer_[begin_++]);
    return {};
}

Result<void> Lexer::skip_blanks() {
    bool in_comment = false;
    while (current_ != kEnd && (in_comment || is_space(current_) || current_ == '#')) {
        if (current_ == '#')
            in_comment = true;
        else if (current_ == '\n')
            in_comment = false;
        if (auto moved = advance(); !moved)
            return moved;
    }
    return {};
}

Result<void> Lexer::read_string(Token& token) {
    token.kind = TokenKind::String;
    for (unsigned length = 0;; length++) {
        if (auto moved = advance(); !moved)
            return moved;
        if (current_ == '"')
            return advance();
        if (current_ == kEnd || current_ == '\n')
            return error("a string is not closed");
        if (length == kStringMax)
            return error("a string is longer than %u characters", kStringMax);
        token.text[length] = static_cast<char>(current_);
        token.text[length + 1] = '\0';
    }
}

Result<void> Lexer::read_word(Token& token) {
    for (unsigned length = 0; is_word(current_); length++) {
        if (length + 1 == sizeof token.text)
            return error("'%s...' is too long to mean anything", token.text);
        token.text[length] = static_cast<char>(current_);
        token.text[length + 1] = '\0';
        if (auto moved = advance(); !moved)
            return moved;
    }
    return classify(token);
}

// Numbers are of exact length: 16 or 8 hexadecimal digits, or 1 to 19 decimal.
Result<void> Lexer::classify(Token& token) const {
    const size_t length = std::strlen(token.text);
    token.kind = TokenKind::Word;
    if (length > 2 && token.text[0] == '0' && (token.text[1] == 'x' || token.text[1] == 'X')) {
        if (length != 2 + 8 && length != 2 + 16)
            return error("hexadecimal number '%s' must have 8 or 16 digits", token.text);
        token.kind = length == 2 + 16 ? TokenKind::Hex64 : TokenKind::Hex32;
        for (size_t i = 2; i < length; i++) {
            const int value = hex_value(token.text[i]);
            if (value < 0)
                return error("'%s' is no hexadecimal number", token.text);
            token.number = token.number << 4 | static_cast<unsigned>(value);
        }
    } else if (is_digit(token.text[0])) {
        if (length > kDigitsMax)
            return error("number '%s' has more than %u digits", token.text, kDigitsMax);
        token.kind = TokenKind::Number;
        for (size_t i = 0; i < length; i++) {
            if (!is_digit(token.text[i]))
                return error("'%s' is no number", token.text);
            token.number = token.number * 10 + static_cast<unsigned>(token.text[i] - '0');
        }
    }
    return {};
}

Result<Token> Lexer::next() {
    if (!started_)
        if (auto moved = advance(); !moved)
            return moved.error();
    if (auto skipped = skip_blanks(); !skipped)
        return skipped.error();
    token_line_ = line_;
    Token token;
    if (current_ == kEnd)
        return token;
    if (current_ == '"') {
        if (auto read = read_string(token); !read)
            return read.error();
        return token;
    }
    if (is_punctuation(current_)) {
        token.kind = TokenKind::Punctuation;
        token.text[0] = static_cast<char>(current_);
        if (auto moved = advance(); !moved)
            return moved.error();
        return token;
    }
    if (!is_word(current_))
        return error("character 0x%02x has no meaning here", static_cast<unsigned>(current_));
    if (auto read = read_word(token); !read)
        return read.error();
    return token;
}

class Parser {
  public:
    Parser(TextSource& source, DumpConsumer& consumer) : lexer_(source), consumer_(consumer) {}
    Result<void> parse();

  private:
    Result<void> keyword(const char* word);
    Result<uint64_t> value(TokenKind kind, const char* what);
    Result<void> named(const char* name, TokenKind kind, uint64_t max, uint64_t& out);
    Result<void> parse_version();
    Result<void> parse_uuids();
    Result<void> parse_sizes();
    Result<void> parse_bitmap();
    Result<void> parse_run(const Token& first);

    Lexer lexer_;
    DumpConsumer& consumer_;
    DumpHead head_;
    uint64_t words_ = 0;
};

Result<void> Parser::keyword(const char* word) {
    auto token = lexer_.next();
    if (!token)
        return token.error();
    if (!token.value().is(word))
        return lexer_.error("'%s' expected, found '%s'", word,
                            token.value().kind == TokenKind::End ? "end of file" : token.value().text);
    return {};
}

Result<uint64_t> Parser::value(TokenKind kind, const char* what) {
    auto token = lexer_.next();
    if (!token)
        return token.error();
    if (token.value().kind != kind)
        return lexer_.error("%s expected, found '%s'", what,
                            token.value().kind == TokenKind::End ? "end of file" : token.value().text);
    return token.value().number;
}

Result<void> Parser::named(const char* name, TokenKind kind, uint64_t max, uint64_t& out) {
    if (auto found = keyword(name); !found)
        return found;
    auto number = value(kind, kind == TokenKind::Number  ? "a decimal number"
                              : kind == TokenKind::Hex32 ? "0x and 8 hexadecimal digits"
                                                         : "0x and 16 hexadecimal digits");
    if (!number)
        return number.error();
    if (number.value() > max)
        return lexer_.error("%s %" PRIu64 " is out of range", name, number.value());
    out = number.value();
    return keyword(";");
}

Result<void> Parser::parse_version() {
    if (auto found = keyword("version"); !found)
        return found;
    auto token = lexer_.next();
    if (!token)
        return token.error();
    if (token.value().kind != TokenKind::String)
        return lexer_.error("a version in quotes expected");
    if (std::strcmp(token.value().text, "v08") != 0)
        return lexer_.error("this is a dump of version '%s'; only v08 can be restored", token.value().text);
    return keyword(";");
}

Result<void> Parser::parse_uuids() {
    if (auto found = keyword("uuid"); !found)
        return found;
    if (auto found = keyword("{"); !found)
        return found;
    uint64_t* const uuids[] = {&head_.uuids.current, &head_.uuids.bitmap, &head_.uuids.history[0],
                               &head_.uuids.history[1]};
    for (uint64_t* uuid : uuids) {
        auto number = value(TokenKind::Hex64, "0x and 16 hexadecimal digits");
        if (!number)
            return number.error();
        *uuid = number.value();
        if (auto found = keyword(";"); !found)
            return found;
    }
    uint64_t flags = 0;
    if (auto found = named("flags", TokenKind::Hex32, UINT32_MAX, flags); !found)
        return found;
    head_.flags = MdFlags{static_cast<uint32_t>(flags)};
    return keyword("}");
}

Result<void> Parser::parse_sizes() {
    uint64_t la_size = 0, bytes_per_bit = 0, max_bio = 0, stripes = 0, stripe_size = 0;
    const struct {
        const char* name;
        TokenKind kind;
        uint64_t max;
        uint64_t& out;
    } rows[] = {
        {"la-size-sect", TokenKind::Number, kCapacityMax.value, la_size},
        {"bm-byte-per-bit", TokenKind::Number, UINT32_MAX, bytes_per_bit},
        {"device-uuid", TokenKind::Hex64, UINT64_MAX, head_.device_uuid},
        {"la-peer-max-bio-size", TokenKind::Number, UINT32_MAX, max_bio},
        {"al-stripes", TokenKind::Number, UINT32_MAX, stripes},
        {"al-stripe-size-4k", TokenKind::Number, UINT32_MAX, stripe_size},
    };
    for (const auto& row : rows)
        if (auto found = named(row.name, row.kind, row.max, row.out); !found)
            return found;
    if (bytes_per_bit != kBitmapBytesPerBit)
        return lexer_.error("bm-byte-per-bit is %" PRIu64 "; only 4096 exists", bytes_per_bit);
    head_.la_size = Sector(la_size);
    head_.la_peer_max_bio_size = static_cast<uint32_t>(max_bio);
    head_.al = {static_cast<uint32_t>(stripes), static_cast<uint32_t>(stripe_size)};
    if (auto checked = head_.al.check(); !checked)
        return lexer_.error("%s", checked.error().text);
    return {};
}

// WORD ";"  or  NUMBER "times" WORD ";"
Result<void> Parser::parse_run(const Token& first) {
    uint64_t count = 1;
    uint64_t word = first.number;
    if (first.kind == TokenKind::Number) {
        count = first.number;
        if (auto found = keyword("times"); !found)
            return found;
        auto number = value(TokenKind::Hex64, "0x and 16 hexadecimal digits");
        if (!number)
            return number.error();
        word = number.value();
    } else if (first.kind != TokenKind::Hex64) {
        return lexer_.error("a word of the bitmap, a repeat count or '}' expected, found '%s'",
                            first.kind == TokenKind::End ? "end of file" : first.text);
    }
    if (auto found = keyword(";"); !found)
        return found;
    const uint64_t room = bitmap_words(kCapacityMax) - words_;
    if (count > room)
        return lexer_.error("the bitmap is longer than that of any device");
    words_ += count;
    if (count > 0)
        return consumer_.on_words(word, count);
    return {};
}

Result<void> Parser::parse_bitmap() {
    if (auto found = keyword("bm"); !found)
        return found;
    if (auto found = keyword("{"); !found)
        return found;
    for (;;) {
        auto token = lexer_.next();
        if (!token)
            return token.error();
        if (token.value().is("}"))
            break;
        if (auto run = parse_run(token.value()); !run)
            return run;
    }
    const uint64_t needed = bitmap_words(head_.la_size);
    if (words_ < needed)
        return lexer_.error("the bitmap has %" PRIu64 " words, a device of la-size-sect %" PRIu64 " needs %" PRIu64,
                            words_, head_.la_size.value, needed);
    return {};
}

Result<void> Parser::parse() {
    if (auto parsed = parse_version(); !parsed)
        return parsed;
    if (auto parsed = parse_uuids(); !parsed)
        return parsed;
    if (auto parsed = parse_sizes(); !parsed)
        return parsed;
    if (auto taken = consumer_.on_head(head_); !taken)
        return taken;
    if (auto parsed = parse_bitmap(); !parsed)
        return parsed;
    auto token = lexer_.next();
    if (!token)
        return token.error();
    if (token.value().kind != TokenKind::End)
        return lexer_.error("end of file expected, found '%s'", token.value().text);
    return {};
}

}  // namespace

Result<void> parse_dump(TextSource& source, DumpConsumer& consumer) { return Parser(source, consumer).parse(); }

}  // namespace drbd::metafmt
