// A second device for tests: its memory is the computer's and its arithmetic the CPU's, and what a GPU would refuse it
// refuses too: operands on two devices, and random numbers from another device's generator.
//
// torch has a place for devices it does not know (PrivateUse1). What is not implemented here is copied to the CPU,
// computed and copied back by torch's own fallback, after a look at where its operands lie.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

namespace {

using Sizes = c10::SymIntArrayRef;
constexpr auto kKind = c10::DeviceType::PrivateUse1;
const c10::Device kDevice(kKind, 0);
const c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

// ---------------------------------------------------------------------------------------------- memory and streams

struct Memory final : c10::Allocator {
  static void release(void* pointer) { c10::free_cpu(pointer); }
  c10::DataPtr allocate(size_t bytes) override {
    void* pointer = c10::alloc_cpu(bytes);
    return {pointer, pointer, &release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Memory memory;
REGISTER_ALLOCATOR(kKind, &memory)

// One stream, on which everything is done at once: its events have always happened.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<kKind> {
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStream(device); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return getStream(kDevice); }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    *event = &memory;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

// ------------------------------------------------------------------------------------------------------ randomness

// A generator of this device; the CPU's kernels draw from `inner`.
struct Dice final : c10::GeneratorImpl {
  at::Generator inner = at::detail::createCPUGenerator();
  Dice() : c10::GeneratorImpl(kDevice, kKeys) {}
  void set_current_seed(uint64_t seed) override { inner.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { inner.set_offset(offset); }
  uint64_t get_offset() const override { return inner.get_offset(); }
  uint64_t current_seed() const override { return inner.current_seed(); }
  uint64_t seed() override { return inner.seed(); }
  void set_state(const c10::TensorImpl& state) override { inner.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return inner.unsafeGetGeneratorImpl()->get_state();
  }
  Dice* clone_impl() const override { return new Dice(); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::make_generator<Dice>(); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    static at::Generator shared = at::make_generator<Dice>();
    return shared;
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    auto fresh = memory.allocate(bytes);
    std::memcpy(fresh.get(), storage.data(), std::min(bytes, storage.nbytes()));
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(fresh));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
};
Hooks hooks;
const bool registered = (at::RegisterPrivateUse1HooksInterface(&hooks), true);

// ------------------------------------------------------------------------------------- what torch does not fall back to

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &memory, kKeys, c10::dtype_or_default(dtype));
}

// The same memory under the CPU's name.
at::Tensor on_cpu(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_privateuseone()) return tensor;
  const auto& owner = tensor.storage();
  c10::DataPtr borrowed(const_cast<void*>(owner.data()), c10::Device(c10::kCPU));
  c10::Storage storage(c10::Storage::use_byte_size_t(), owner.nbytes(), std::move(borrowed));
  auto twin = at::empty({0}, tensor.options().device(c10::kCPU));
  return twin.set_(storage, tensor.storage_offset(), tensor.sizes(), tensor.strides());
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  return copy_from(from, to.resize_(from.sizes()), false);
}

at::Scalar local_scalar(const at::Tensor& tensor) { return on_cpu(tensor).item(); }

const at::Tensor& resize(const at::Tensor& tensor, Sizes size, std::optional<at::MemoryFormat> format) {
  return at::native::resize_(tensor, C10_AS_INTARRAYREF_SLOW(size), format);
}

at::Tensor operand(const at::Tensor& tensor) {
  TORCH_CHECK(!tensor.defined() || tensor.is_privateuseone(), "convolution: operands on two devices");
  return on_cpu(tensor);
}

at::Tensor result(const at::Tensor& tensor) { return tensor.defined() ? tensor.to(kDevice) : tensor; }

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       Sizes stride, Sizes padding, Sizes dilation, bool transposed, Sizes output, c10::SymInt groups) {
  std::optional<at::Tensor> added;
  if (bias && bias->defined()) added = operand(*bias);
  return result(at::convolution_symint(operand(input), operand(weight), added, stride, padding, dilation, transposed,
                                       output, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& grad, const at::Tensor& input, const at::Tensor& weight, Sizes stride, Sizes padding,
    Sizes dilation, bool transposed, Sizes output, c10::SymInt groups, std::array<bool, 3> wanted) {
  std::vector<c10::SymInt> bias{transposed ? weight.sym_size(1) * groups : weight.sym_size(0)};
  auto found = at::convolution_backward_symint(operand(grad), operand(input), operand(weight), Sizes(bias), stride,
                                               padding, dilation, transposed, output, groups, wanted);
  return {result(std::get<0>(found)), result(std::get<1>(found)), result(std::get<2>(found))};
}

// ---------------------------------------------------------------------------------------------------- everything else

// As on a GPU, places to index may lie on the CPU, and so may numbers without dimensions.
bool may_mix(const std::string& name) {
  return name.find("aten::index") == 0 || name.find("aten::_index_put") == 0 || name.find("aten::_copy") == 0;
}

void fall_back(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto num = op.schema().arguments().size();
  const auto name = c10::toString(op.schema().operator_name());
  bool here = false, elsewhere = false;
  auto look = [&](const at::Tensor& tensor) {
    if (tensor.defined() && tensor.dim() > 0) (tensor.is_privateuseone() ? here : elsewhere) = true;
  };
  for (size_t index = stack->size() - num; index < stack->size(); ++index) {
    auto& value = (*stack)[index];
    if (value.isTensor()) look(value.toTensor());
    if (value.isTensorList()) for (const at::Tensor& tensor : value.toTensorList()) look(tensor);
    if (!value.isGenerator() || !value.toGenerator().defined()) continue;
    const auto generator = value.toGenerator();
    TORCH_CHECK(generator.device().type() == kKind, name, ": a generator of ", generator.device());
    value = static_cast<Dice*>(generator.unsafeGetGeneratorImpl())->inner;
  }
  TORCH_CHECK(!here || !elsewhere || may_mix(name), name, ": operands on two devices");
  at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&fall_back>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &local_scalar);
  library.impl("resize_", &resize);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("unfold", &at::native::unfold);
  library.impl("view_as_real", &at::native::view_as_real);
  library.impl("view_as_complex", &at::native::view_as_complex);
  library.impl("set_.source_Storage_storage_offset", &at::native::set_storage_cpu_);
  library.impl("convolution_overrideable", &convolution);
  library.impl("convolution_backward_overrideable", &convolution_backward);
}

}  // namespace
