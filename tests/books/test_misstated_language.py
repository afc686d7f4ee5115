"""Books whose tool wrote "en" into their package, though their text is another's."""

import pytest
from epub_texts import p

SENTENCES = {
    "Swedish": "Fyren stod på udden och lyste över det mörka havet, som den alltid hade gjort.",
    "Danish": "Fyret stod på pynten og lyste over det mørke hav, som det altid havde gjort.",
    "Finnish": "Majakka seisoi niemellä ja loisti yli pimeän meren, niin kuin se oli aina tehnyt.",
    "Polish": "Latarnia stała na cyplu i nie gasła, bo morze było ciemne, jak od lat co noc.",
    "Slovenian": "Svetilnik je stal na rtu in se ni ugasnil, ker je bilo morje temno po vsem svetu.",
    "Hungarian": "A világítótorony az öböl szélén állt, és nem aludt ki, mert a tenger is sötét volt.",
    "Turkish": "Deniz feneri burunda duruyordu ve bu karanlık denize bir ışık gibi bakıyordu.",
    "Indonesian": "Mercusuar itu berdiri di tanjung dan menyinari laut yang gelap dengan tenang.",
    "Vietnamese": "Ngọn hải đăng đứng trên mũi đất và chiếu sáng cho biển tối, là bạn của người đi xa.",
    "Latin": "Pharus in promunturio stabat et mare non obscurum erat, quod lumen ad nautas misit.",
    "Greek": "Ο φάρος στεκόταν στο ακρωτήρι και φώτιζε τη σκοτεινή θάλασσα όπως έκανε πάντα.",
    "Russian": "Маяк стоял на мысу и светил над тёмным морем, как он это делал всегда.",
    "Korean": "등대는 곶에 서서 어두운 바다를 늘 그랬듯이 밝게 비추고 있었다.",
    "Korean with code": "등대는 tibble lamp 곶에 서서 어두운 바다를 ggplot 밝게 비추고 있었다.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_book_in_another_language_than_it_states_is_read(text_of, language):
    texts = [f"{SENTENCES[language]} {number}." for number in range(60)]
    metadata = "<dc:title>A</dc:title><dc:language>en</dc:language>"
    assert text_of({"c1.xhtml": p(texts)}, metadata=metadata) == texts
