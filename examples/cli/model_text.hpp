// What models and parts of them are, in lines for people: `ocellus info` and `ocellus inspect`.
#ifndef OCELLUS_CLI_MODEL_TEXT_HPP
#define OCELLUS_CLI_MODEL_TEXT_HPP

#include <string>
#include <string_view>

#include "ocellus/model/config.hpp"

namespace ocellus_cli {

/// "name          value" to standard output.
void line(std::string_view name, const std::string& value);

// The parts of a model. What a configuration leaves at 0 is left out.
void print_vit(const ocellus::vit_config& vit);
void print_qformer(const ocellus::qformer_config& qformer);
void print_projection(const ocellus::model_config& config);
void print_phi(const ocellus::phi_config& phi);
/// All of them.
void print_config(const ocellus::model_config& config);

}  // namespace ocellus_cli

#endif  // OCELLUS_CLI_MODEL_TEXT_HPP
