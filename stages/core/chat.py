"""How a consult or an exam question becomes Gemma turns: the one home of prompt text.

In evaluation the wording is lm-eval's own and only `GEMMA_TEMPLATE` comes from here.
"""

from stages.core.records import Consult, Example, ExamQuestion, Message

EXAM_INSTRUCTION = "질문을 보고, 제시된 [A-E] 중 정답을 맞추세요."
CONSULT_INSTRUCTION = "다음은 환자 정보와 질문입니다. 환자 정보를 참고하여 질문에 답변해주세요."

END_OF_TURN = "<end_of_turn>"
CONTROL_TOKENS = ("<bos>", "<eos>", "<start_of_turn>", END_OF_TURN)  # in a text they would be taken for real turns

# Gemma's own chat template (google/gemma-2-2b-it, tokenizer_config.json): no system role, turns alternate. Set on a
# pretrained base that comes without one, so that base, SFT and DPO are asked in the same form.
GEMMA_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)


def control_token(text: str) -> str | None:
    """The first of Gemma's control tokens that stands in a text; None: none does."""
    return next((token for token in CONTROL_TOKENS if token in text), None)


def exam_text(question: ExamQuestion) -> str:
    """The published report's form: the question, `A. …` to `E. …` a line each, `정답:`."""
    choices = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCDE", question.choices, strict=True))
    return f"{question.question}\n{choices}\n정답:"


def exam_example(id: str, question: ExamQuestion, source: str) -> Example:
    return Example(
        id=id, question=exam_text(question), instruction=EXAM_INSTRUCTION, answer=question.letter, source=source
    )


def consult_instruction(patient_information: str) -> str:
    """The report's sentence, a blank line and what is known of the patient, where anything is."""
    return f"{CONSULT_INSTRUCTION}\n\n{patient_information}".rstrip()


def consult_example(consult: Consult) -> Example:
    return Example(
        id=consult.id,
        question=consult.question,
        instruction=consult_instruction(consult.patient_information),
        answer=consult.answer,
        source=consult.source,
    )


def user_turn(instruction: str, question: str) -> str:
    """Gemma has no system role (lm-evaluation-harness#2069), so the instruction opens the first user turn."""
    return f"{instruction}\n\n{question}"


def example_prompt(example: Example) -> tuple[Message, ...]:
    return (Message(role="user", content=user_turn(example.instruction, example.question)),)


def consult_prompt(question: str, patient_information: str) -> tuple[Message, ...]:
    return (Message(role="user", content=user_turn(consult_instruction(patient_information), question)),)


def reply(text: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=text),)
