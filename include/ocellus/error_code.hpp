// Every error that the library can report: a stable number, a stable name and one sentence.
#ifndef OCELLUS_ERROR_CODE_HPP
#define OCELLUS_ERROR_CODE_HPP

#include <string_view>

#include "ocellus/config.hpp"

// One row an error: number, name, what it means. Numbers are part of the interface: they are never reused, and a
// new error takes the next free number of its group.
#define OCELLUS_ERROR_CODES(X)                                                                         \
  /* general */                                                                                        \
  X(1, out_of_memory, "the host's allocator returned no memory")                                       \
  X(2, invalid_argument, "an argument is outside its documented range")                                \
  X(3, cancelled, "the host asked to stop")                                                            \
  X(4, busy, "another thread is inside this object")                                                   \
  X(5, unsupported, "valid, but not implemented by this version")                                      \
  X(6, internal, "a promise that the library makes to itself was broken")                              \
  X(7, no_thread, "the system refused to start a thread")                                              \
  /* files */                                                                                          \
  X(100, not_found, "no such file")                                                                    \
  X(101, bad_path, "a path is empty, too long or holds a NUL")                                         \
  X(102, not_regular, "not a regular file")                                                            \
  X(103, empty_file, "the file has no bytes")                                                          \
  X(104, open_failed, "the file could not be opened")                                                  \
  X(105, read_failed, "reading the file failed")                                                       \
  X(106, write_failed, "writing the file failed")                                                      \
  X(107, file_changed, "the file changed while it was read")                                           \
  X(108, too_large, "the file does not fit into the address space")                                    \
  X(109, not_this_format, "the file is of another format")                                             \
  /* JSON and safetensors */                                                                           \
  X(200, json_syntax, "not valid JSON")                                                                \
  X(201, json_depth, "JSON nested too deeply")                                                         \
  X(202, json_string, "a JSON string holds a bad escape, a lone surrogate or a control byte")          \
  X(203, utf8, "not valid UTF-8")                                                                      \
  X(204, duplicate_key, "a key stands twice in one JSON object")                                       \
  X(205, int_range, "a number has too many digits")                                                    \
  X(206, truncated_length, "the file is shorter than a safetensors header length")                     \
  X(207, header_too_small, "the header is shorter than an empty object")                               \
  X(208, header_past_eof, "the header is longer than the file")                                        \
  X(209, header_too_large, "the header is longer than the format allows")                              \
  X(210, root_not_object, "the JSON root is not an object")                                            \
  X(211, bad_name, "a tensor name holds a NUL")                                                        \
  X(212, limit_name, "a name is too long")                                                             \
  X(213, limit_tensors, "too many tensors")                                                            \
  X(214, field_missing, "a required field is missing")                                                 \
  X(215, field_type, "a field has the wrong type")                                                     \
  X(216, field_unknown, "a field is not known")                                                        \
  X(217, dtype_unknown, "an element type is not known")                                                \
  X(218, not_uint, "a size is not an unsigned 64-bit integer")                                         \
  X(219, rank, "a tensor has too many dimensions")                                                     \
  X(220, overflow, "sizes multiply beyond 64 bits")                                                    \
  X(221, offset_order, "a tensor ends before it begins")                                               \
  X(222, size_mismatch, "a tensor's bytes do not match its shape")                                     \
  X(223, subbyte, "a tensor of elements below a byte does not end on a byte")                          \
  X(224, hole, "bytes between tensors belong to none")                                                 \
  X(225, overlap, "two tensors share bytes")                                                           \
  X(226, truncated_data, "a tensor reaches past the end of the file")                                  \
  X(227, trailing_data, "bytes follow the last tensor")                                                \
  X(228, metadata, "__metadata__ is not an object of strings")                                         \
  X(229, json_limit, "a JSON text is larger than its reader allows")                                   \
  /* zip archives, pickles and PyTorch's checkpoints */                                                \
  X(300, zip_end, "the file does not end as a zip archive does")                                       \
  X(301, zip_trailing, "bytes follow the end of the zip archive")                                      \
  X(302, zip_leading, "bytes stand before the zip archive")                                            \
  X(303, zip_ambiguous, "the file holds more than one zip archive")                                    \
  X(304, zip_directory_range, "the zip directory lies outside the file")                               \
  X(305, zip_count, "the zip directory holds another number of entries than it says")                  \
  X(306, zip_multi_disk, "the zip archive spans several disks")                                        \
  X(307, zip_header_range, "a zip entry's header lies outside the file")                               \
  X(308, zip_header, "a zip entry does not start with a header")                                       \
  X(309, zip_size_mismatch, "the sizes that a zip gives for an entry contradict each other")           \
  X(310, zip_data_range, "a zip entry's bytes lie outside the file")                                   \
  X(311, zip_crc, "a zip entry's bytes do not match their checksum")                                   \
  X(312, zip_compressed, "a zip entry is compressed, which PyTorch never does")                        \
  X(313, zip_method, "a zip entry is stored by an unknown method")                                     \
  X(314, zip_encrypted, "a zip entry is encrypted")                                                    \
  X(315, zip_name_mismatch, "a zip entry has one name in the directory and another in its header")     \
  X(316, zip_duplicate, "two zip entries have the same name")                                          \
  X(317, zip_overlap, "two zip entries share bytes")                                                   \
  X(318, zip64_range, "a 64-bit zip size lies outside the file")                                       \
  X(319, zip64_extra, "a zip entry lacks the 64-bit sizes that it refers to")                          \
  X(320, zip_layout, "zip entries are not all inside one folder, or have unsafe names")                \
  X(321, zip_missing, "a zip entry that is referred to is missing")                                    \
  X(322, torchscript, "a TorchScript program, not a checkpoint")                                       \
  X(323, no_data_pkl, "the zip archive holds no data.pkl, so it is no PyTorch checkpoint")             \
  X(324, legacy_tar, "a checkpoint of PyTorch before 0.1.10 (tar)")                                    \
  X(325, legacy_pickle, "a checkpoint of PyTorch before 1.6 (not a zip archive)")                      \
  X(326, byte_order, "the checkpoint was not written by a little-endian machine")                      \
  X(327, torch_version, "the checkpoint is of an unknown version of PyTorch's format")                 \
  X(328, pickle_truncated, "the pickle ends too early")                                                \
  X(329, pickle_underflow, "the pickle takes a value from an empty stack")                             \
  X(330, pickle_opcode, "the pickle holds an operation that checkpoints do not need")                  \
  X(331, pickle_protocol, "the pickle is of an unknown protocol")                                      \
  X(332, pickle_trailing, "something is left over behind the pickle's end")                            \
  X(333, pickle_mark, "a mark of the pickle is missing, or stands in the way")                         \
  X(334, pickle_odd_items, "the pickle gives a dictionary a key without a value")                      \
  X(335, pickle_memo, "the pickle recalls a value that it never stored")                               \
  X(336, pickle_global, "the pickle names a function or class that checkpoints do not need")           \
  X(337, pickle_type, "a value in the pickle has the wrong type")                                      \
  X(338, pickle_arguments, "a function in the pickle gets the wrong number of arguments")              \
  X(339, pickle_hooks, "a tensor in the pickle has hooks")                                             \
  X(340, pickle_limit_memo, "the pickle stores too many values")                                       \
  X(341, pickle_limit_depth, "values in the pickle are nested too deeply")                             \
  X(342, pickle_limit, "the pickle is too large: operations or values")                                \
  X(343, persistent_id, "a reference to a storage is malformed")                                       \
  X(344, storage_key, "a storage has a name that is not a number")                                     \
  X(345, storage_size, "a storage's bytes do not match its number of elements")                        \
  X(346, storage_conflict, "two references to one storage contradict each other")                      \
  X(347, storage_type, "a storage of a type that is not read")                                         \
  X(348, tensor_key, "a checkpoint's key is not a proper name")                                        \
  X(349, no_state_dict, "the file is not a dictionary of tensors")                                     \
  X(350, negative, "a size is negative")                                                               \
  X(351, rank_mismatch, "a tensor has another number of strides than of dimensions")                   \
  X(352, view_range, "a tensor reaches beyond its storage")                                            \
  X(353, limit_elements, "a tensor has too many elements")                                             \
  /* tokenizer and text */                                                                             \
  X(400, token_id, "a token's id is not an integer in the allowed range")                              \
  X(401, token_id_duplicate, "two tokens have one id")                                                 \
  X(402, token_duplicate, "a token stands twice")                                                      \
  X(403, token_empty, "a token has no bytes")                                                          \
  X(404, token_too_long, "a token has too many bytes")                                                 \
  X(405, token_alphabet, "a token holds a character that stands for no byte")                          \
  X(406, byte_missing, "a byte has no token")                                                          \
  X(407, limit_tokens, "too many tokens")                                                              \
  X(408, merge_syntax, "a merge is not two tokens")                                                    \
  X(409, merge_unknown, "a merge names a token that is not in the vocabulary")                         \
  X(410, merge_result, "a merge makes a token that is not in the vocabulary")                          \
  X(411, merge_duplicate, "a merge stands twice")                                                      \
  X(412, limit_merges, "too many merges")                                                              \
  X(413, end_of_text_missing, "the tokenizer has no end-of-text token")                                \
  X(414, tokenizer_unsupported, "the tokenizer asks for something that is not implemented")            \
  X(415, tokenizer_data, "the tokenizer's arrays contradict each other")                               \
  X(416, text_too_long, "a text is too long to be tokenized")                                          \
  X(417, stop_string, "a stop string is empty or too long, or there are too many")                     \
  /* pictures */                                                                                       \
  X(500, image_format, "not a picture of a format that is decoded (PNG, JPEG)")                        \
  X(501, image_size, "a picture has no pixels, or is wider or higher than the limit")                  \
  X(502, image_too_large, "a picture exceeds the limit for its area, its file or its decoding memory") \
  X(503, image_truncated, "the picture file ends too early")                                           \
  X(504, image_corrupt, "the picture file is damaged")                                                 \
  X(505, image_extra_data, "the picture file inflates to far more than its pixels")                    \
  X(506, image_unsupported, "a kind of PNG or JPEG that is not decoded")                               \
  /* model files and configuration */                                                                  \
  X(600, not_a_model, "a safetensors file without what makes it a model of this library")              \
  X(601, model_version, "the model file is of a version that is not read")                             \
  X(602, config_field, "a field of the configuration is missing, unknown or of the wrong type")        \
  X(603, config_range, "a field of the configuration is out of its range")                             \
  X(604, config_mismatch, "two parts of the model contradict each other")                              \
  X(605, tensor_missing, "a tensor that the configuration asks for is missing")                        \
  X(606, tensor_shape, "a tensor has another type or shape than the configuration asks for")           \
  X(607, tensor_unknown, "a tensor that nothing uses")                                                 \
  /* sessions and chat */                                                                              \
  X(700, context_full, "the tokens do not fit into the session's context")                             \
  X(701, numeric, "the logits are not numbers")                                                        \
  X(702, no_tokenizer, "the model file holds no tokenizer")                                            \
  X(703, no_vision, "the model has no picture side")                                                   \
  X(704, template_unknown, "no prompt template of that name")                                          \
  X(705, target_unknown, "no kernels of that name for this processor")                                 \
  X(706, token_unknown, "a token id is outside the vocabulary")                                        \
  X(707, turn_state, "a call that does not fit the state of the turn")                                 \
  /* conversion of checkpoints */                                                                      \
  X(800, index_path, "an index of shards names a file that is not a plain name in its folder")         \
  X(801, shard_missing, "a shard that the index names is missing")                                     \
  X(802, index_mismatch, "the index of shards contradicts the shards")                                 \
  X(803, output_is_input, "the output would replace one of the inputs")                                \
  X(804, weight_range, "a weight is not finite, or too large for the format")

namespace ocellus::inline OCELLUS_ABI {

enum class error_code : std::uint16_t {
#define OCELLUS_ERROR_ENUM(number, name, text) name = number,
  OCELLUS_ERROR_CODES(OCELLUS_ERROR_ENUM)
#undef OCELLUS_ERROR_ENUM
};

/// The code's name as written above ("out_of_memory"); "unknown" for a number that is none of them.
constexpr std::string_view name_of(error_code code) noexcept {
  switch (code) {
#define OCELLUS_ERROR_NAME(number, name, text) \
  case error_code::name:                       \
    return #name;
    OCELLUS_ERROR_CODES(OCELLUS_ERROR_NAME)
#undef OCELLUS_ERROR_NAME
  }
  return "unknown";
}

/// One sentence that explains the code without any context.
constexpr std::string_view describe(error_code code) noexcept {
  switch (code) {
#define OCELLUS_ERROR_TEXT(number, name, text) \
  case error_code::name:                       \
    return text;
    OCELLUS_ERROR_CODES(OCELLUS_ERROR_TEXT)
#undef OCELLUS_ERROR_TEXT
  }
  return "unknown error";
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_ERROR_CODE_HPP
